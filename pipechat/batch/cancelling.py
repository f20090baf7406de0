"""Letting go of what the provider has not answered yet."""

from __future__ import annotations

from pipechat.batch.job import BatchJob
from pipechat.batch.job_files import JobFiles
from pipechat.batch.patience import Patience
from pipechat.batch.seen import Seen
from pipechat.batch.standing import Standing
from pipechat.client.batch_api import BatchApi
from pipechat.errors import RefusedError


def cancel(job: BatchJob, files: JobFiles, api: BatchApi, patience: Patience) -> list[Standing]:
    """Cancel the batches of `job` that are not at their end; what they have finished can be
    fetched. Parts of which there is no batch are given up: their items are free again.

    Returns:
        The parts as they stand then.

    Raises:
        PipechatError: one could not be cancelled; another call goes on.
    """
    standings = []
    for part in job.parts:
        if part.is_fetched:
            standings.append(Standing(part))
        elif part.batch_id is None:
            job = job.without(part.number)
            files.write(job)
            files.remove(part.number)
        else:
            standings.append(Standing(part, _cancel(part.batch_id, api, patience)))
    return standings


def _cancel(batch_id: str, api: BatchApi, patience: Patience) -> Seen:
    def attempt() -> Seen:
        # Looked at first: it may have ended, or an earlier try had its effect.
        seen = Seen.of(api.batch(batch_id))
        return Seen.of(api.cancel(batch_id)) if seen.may_be_cancelled else seen

    try:
        return patience.until_done(attempt)
    except RefusedError:
        seen = Seen.of(patience.until_done(lambda: api.batch(batch_id)))
        if seen.may_be_cancelled:
            raise
        return seen  # it ended between the two calls
