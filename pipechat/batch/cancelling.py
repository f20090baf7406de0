"""Letting go of what the provider has not answered yet."""

from __future__ import annotations

from collections.abc import Mapping

from pipechat.batch.job import BatchJob, Part
from pipechat.batch.job_files import JobFiles
from pipechat.batch.patience import Patience
from pipechat.batch.seen import Seen
from pipechat.batch.standing import Standing
from pipechat.client.batch_api import BatchApi
from pipechat.errors import PipechatError, RefusedError, TryLaterError


def cancel(
    job: BatchJob,
    files: JobFiles,
    api: BatchApi,
    patience: Patience,
    unsure: Mapping[int, PipechatError],
) -> tuple[list[Standing], PipechatError | None]:
    """Cancel the batches of `job` that are not at their end; what they have finished can be
    fetched. Parts of which there is no batch are given up: their items are free again.

    Args:
        unsure: why it is not known of a part whether it has a batch. One that will not be known
            is given up as well.

    Returns:
        The parts as they stand then, and why one could not be cancelled: another call goes on.
    """
    standings: list[Standing] = []
    first: PipechatError | None = None
    for part in job.parts:
        error: PipechatError | None = None
        if part.is_fetched:
            standings.append(Standing(part))
        elif part.batch_id is not None:
            standing = _cancel(part, part.batch_id, api, patience)
            standings.append(standing)
            error = standing.error
        elif isinstance(unsure.get(part.number), TryLaterError):
            error = unsure[part.number]
            standings.append(Standing(part, error=error))
        else:
            job = job.without(part.number)
            files.write(job)
            files.remove(part.number)
        first = first or error
    return standings, first


def _cancel(part: Part, batch_id: str, api: BatchApi, patience: Patience) -> Standing:
    """The part as it stands then, or why its batch could not be cancelled."""

    def attempt() -> Seen:
        # Looked at first: it may have ended, or an earlier try had its effect.
        seen = Seen.of(api.batch(batch_id))
        return Seen.of(api.cancel(batch_id)) if seen.may_be_cancelled else seen

    try:
        return Standing(part, patience.until_done(attempt))
    except TryLaterError as error:
        return Standing(part, error=error)
    except RefusedError as error:
        return _refused(part, batch_id, error, api, patience)


def _refused(
    part: Part, batch_id: str, refusal: RefusedError, api: BatchApi, patience: Patience
) -> Standing:
    """A part whose batch may have ended between the two calls."""
    try:
        seen = Seen.of(patience.until_done(lambda: api.batch(batch_id)))
    except (TryLaterError, RefusedError) as error:
        return Standing(part, error=error)
    return Standing(part, seen, refusal if seen.may_be_cancelled else None)
