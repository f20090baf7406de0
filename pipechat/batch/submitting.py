"""Handing parts to the provider's batch engine: files uploaded, batches created.

Owns the order in which each step is noted and taken: whoever kills it at any moment pays for
nothing twice.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from functools import partial

from pipechat.batch.job import BatchJob, Part
from pipechat.batch.job_faults import unreadable
from pipechat.batch.job_files import JobFiles
from pipechat.batch.patience import Patience
from pipechat.client.batch_api import BatchApi
from pipechat.errors import (
    PipechatError,
    RefusedError,
    SessionError,
    SetupError,
    TryLaterError,
)
from pipechat.store.locked_file import open_to_read

# A list may show a batch later than it was created: it is looked at again after so long.
_LOOKS_AGAIN_S = (0.5, 1.0, 2.0)


_UNSEEN = ("find", "not found", "no such", "does not exist",
           "not ready", "pending", "processed", "processing")  # fmt: skip


class Submitter:
    """Uploads the files of parts, and creates their batches.

    Args:
        patience: for what fails for now, and for files that are not seen yet.
    """

    def __init__(self, files: JobFiles, api: BatchApi, patience: Patience) -> None:
        self._files = files
        self._api = api
        self._patience = patience

    def submit(self, job: BatchJob, created: Callable[[Part], None]) -> BatchJob:
        """Take every part of `job` as far as that its batch is created; `created` is told of each.

        Raises:
            PipechatError: one could not be; what was done stands in the job's file.
        """
        for part in job.held:
            if part.is_created:
                continue
            if not part.is_uploaded:
                job, part = self._upload(job, part)
            job, part = self._create(job, part)
            created(part)
        return job

    def adopt(self, job: BatchJob) -> tuple[BatchJob, dict[int, PipechatError]]:
        """`job` with the batches that were created and not noted, which the provider is asked
        for, and why it could not be, by part; nothing is created."""
        unsure: dict[int, PipechatError] = {}
        for part in job.held:
            if part.step != "creating":
                continue
            try:
                found = self._patience.until_done(partial(self._find_batch, job, part))
            except (RefusedError, TryLaterError) as error:
                unsure[part.number] = error
                continue
            if found is not None:
                job = self._noted(job, part.created(found))
        return job, unsure

    def _upload(self, job: BatchJob, part: Part) -> tuple[BatchJob, Part]:
        path = self._files.requests_path(part.number)
        try:
            os.close(open_to_read(path))
        except FileNotFoundError as error:
            message = f"{path} is not there any more"
            hint = "`batch cancel` lets go of it."
            raise SessionError("unreadable_batch", message, hint) from error
        except OSError as error:
            raise unreadable(path, error) from error
        begun = part.step == "uploading"
        part = part.begins("uploading")
        job = self._noted(job, part)
        name = job.file_name(part)
        file_id = self._once(
            lambda: self._find_file(job, name, os.path.getsize(path)),
            lambda: self._api.upload(path, name),
            begun=begun,
        )
        part = part.uploaded(file_id)
        return self._noted(job, part), part

    def _create(self, job: BatchJob, part: Part) -> tuple[BatchJob, Part]:
        begun = part.step == "creating"
        part = part.begins("creating")
        job = self._noted(job, part)
        file_id = part.file_id
        assert file_id is not None
        batch_id = self._once(
            lambda: self._find_batch(job, part),
            lambda: str(self._api.create(file_id, job.metadata(part))["id"]),
            begun=begun,
        )
        part = part.created(batch_id)
        return self._noted(job, part), part

    def _once(self, find: Callable[[], str | None], make: Callable[[], str], *, begun: bool) -> str:
        """The id of what `make` makes, once: after a try that may have had its effect, it is
        looked for first."""
        looks = begun

        def attempt() -> str:
            nonlocal looks
            if looks and (found := find()) is not None:
                return found
            try:
                return make()
            except PipechatError as error:
                looks = looks or _may_be_done(error)
                raise

        return self._patience.until_done(attempt, also=_is_unseen_file)

    def _find_file(self, job: BatchJob, name: str, size: int) -> str | None:
        try:
            return self._api.find_file(name, size, job.since)
        except RefusedError:  # no such list here: a file that is there twice costs nothing
            return None

    def _find_batch(self, job: BatchJob, part: Part) -> str | None:
        """The batch of a part: where the list does not show it, it is looked at again."""
        assert part.file_id is not None
        for pause_s in (*_LOOKS_AGAIN_S, None):
            try:
                found = self._api.find_batch(part.file_id, job.metadata(part), job.since)
            except RefusedError as error:
                error.message = f"whether {part.file_id} has a batch is not told: {error.message}"
                error.hint = "`batch cancel` gives the part up: look at the provider's first."
                raise
            if found is not None:
                return str(found["id"])
            if pause_s is not None and not self._patience.rest(pause_s):
                message = "--timeout ended before it was known whether a batch was created"
                raise TryLaterError("timeout", message, "Raise --timeout.", again=False)
        return None

    def _noted(self, job: BatchJob, part: Part) -> BatchJob:
        job = job.with_part(part)
        self._files.write(job)
        return job


def _may_be_done(error: PipechatError) -> bool:
    """Whether a call that failed so may have had its effect all the same."""
    refused = isinstance(error, RefusedError | SetupError)
    return not refused and not (isinstance(error, TryLaterError) and error.status == 429)


def _is_unseen_file(error: PipechatError) -> bool:
    """Whether a server does not see yet a file that was uploaded just before, or still reads
    it."""
    said = error.message.lower()
    refused = isinstance(error, RefusedError)
    return refused and "file" in said and any(word in said for word in _UNSEEN)


def new_job(endpoint: str) -> BatchJob:
    """A job with no part yet."""
    return BatchJob(os.urandom(8).hex(), endpoint, time.time())
