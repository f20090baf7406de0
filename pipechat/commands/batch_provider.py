"""`pipechat batch submit`, `status`, `fetch` and `cancel`, put together."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

from pipechat import jsonl
from pipechat.batch.cancelling import cancel
from pipechat.batch.fetching import Fetcher
from pipechat.batch.job import BatchJob, Part
from pipechat.batch.job_files import JobFiles
from pipechat.batch.journal import OutputFile
from pipechat.batch.patience import Patience
from pipechat.batch.planning import Planner, Submitted
from pipechat.batch.results import Results
from pipechat.batch.seen import Seen
from pipechat.batch.standing import Standing, status_record
from pipechat.batch.submitting import Submitter, new_job
from pipechat.client.batch_api import BatchApi
from pipechat.commands.batch_ends import (
    conclude,
    item_reader,
    open_output,
    open_source,
    rows_of,
    show_failures,
)
from pipechat.commands.reporting import report
from pipechat.commands.wanted import read_wanted
from pipechat.commands.wiring import with_key
from pipechat.environment import Environment
from pipechat.errors import PipechatError, UsageError
from pipechat.settings.resolve import Settings
from pipechat.text import counted, visible_line


def submit_batch(env: Environment, settings: Settings, source_name: str) -> int:
    """Check every item, and hand over those that are to be asked; the exit status."""
    settings = _checked(settings)._replace(stream=False)
    path = settings.batch_output
    if path is None or path == "-":
        raise UsageError("bad_option", "the answers come later: they need a file", "Give -o OUT.")
    wanted = read_wanted(env, settings)
    with ExitStack() as stack:
        source = open_source(env, source_name, stack)
        reader = item_reader(env, settings, wanted)
        rows = rows_of(settings, source, source_name)
        provider = _Provider(env, settings)
        output = open_output(settings, path, source, stack)
        files = JobFiles(path)
        job = _job_to_go_on_with(files, provider)
        summary = Submitted()
        kept = wanted.record() if wanted is not None else None
        planner = Planner(files, output, reader, kept, retry_failed=settings.retry_failed)
        job = planner.plan(job, rows, summary)

        def created(part: Part) -> None:
            summary.batches += 1
            if env.verbose:
                items = counted(part.items, "item")
                env.stderr.note(f"part {part.number}: {items}, {part.batch_id}")

        try:
            Submitter(files, provider.api, provider.patience).submit(job, created)
        except PipechatError as error:
            summary.stopped = error
    if settings.summary_format == "json":
        env.stdout.write(jsonl.dumps(summary.record()) + b"\n")
    env.warn(summary.line())
    show_failures(env, summary.first_failures, summary.stopped)
    if summary.stopped is not None:
        report(env, summary.stopped)
    return summary.exit_code


def show_status(env: Environment, settings: Settings, path: str) -> int:
    """How the parts stand, on stdout; the exit status."""
    job = JobFiles(path).existing()
    provider = _Provider(env, _checked(settings))
    provider.check(job)
    standings = []
    for part in job.parts:
        seen = None
        if part.batch_id is not None and not part.is_fetched:
            seen = provider.seen(part.batch_id)
        standings.append(Standing(part, seen))
    _show(env, settings, standings)
    return 0


def fetch_batch(env: Environment, settings: Settings, path: str) -> int:
    """Bring home the answers that are there; the exit status."""
    began = time.monotonic()
    JobFiles(path).existing()  # before a file is made where there should be none
    settings = _checked(settings)
    with ExitStack() as stack:
        provider = _Provider(env, settings)
        settings = provider.settings
        output = OutputFile(path)
        stack.callback(output.close)
        files = JobFiles(path)
        job = files.existing()
        provider.check(job)
        fetcher = Fetcher(
            files,
            output,
            provider.api,
            provider.patience,
            lambda part: _results(settings, part),
            env.stderr.note if env.verbose else lambda _: None,
        )
        try:
            job = Submitter(files, provider.api, provider.patience).adopt(job)
            fetcher.fetch(job, waits=settings.wait)
        except PipechatError as error:
            fetcher.summary.stopped = error
    seconds = time.monotonic() - began
    return conclude(env, settings, fetcher.summary, seconds, to_file=True)


def cancel_batch(env: Environment, settings: Settings, path: str) -> int:
    """Cancel what is not at its end; how the parts stand, on stdout; the exit status."""
    JobFiles(path).existing()
    with ExitStack() as stack:
        provider = _Provider(env, _checked(settings))
        output = OutputFile(path)
        stack.callback(output.close)
        files = JobFiles(path)
        job = files.existing()
        provider.check(job)
        job = Submitter(files, provider.api, provider.patience).adopt(job)
        standings = cancel(job, files, provider.api, provider.patience)
    _show(env, settings, standings)
    return 0


class _Provider:
    """The endpoint's batch engine, and how long it may take. Raises SetupError, UsageError."""

    def __init__(self, env: Environment, settings: Settings) -> None:
        from pipechat.client.advice import advise_of_key
        from pipechat.client.lazy_openai import load_openai
        from pipechat.client.sdk_sender import SdkSender

        self.settings = settings = with_key(env, settings)
        ends_at = None
        if settings.timeout_s is not None:
            ends_at = time.monotonic() + settings.timeout_s
        # What is large takes long: no single wait for the server is longer than this.
        each = settings._replace(timeout_s=settings.idle_timeout_s)
        self.api = BatchApi(
            SdkSender(each, env.environ, load_openai(env.environ)),
            host=settings.host,
            secrets=settings.secrets,
            ends_at=ends_at,
            waits=env.waits,
            advise=lambda error: advise_of_key(error, settings),
        )
        tell = env.stderr.note if env.verbose else lambda _: None
        self.patience = Patience(settings.retries, ends_at, tell)

    def check(self, job: BatchJob) -> None:
        """Raises UsageError where `job` is at another endpoint."""
        here = self.settings.endpoint.url
        if job.endpoint != here:
            message = f"it was submitted to {job.endpoint}, and this is {here}"
            hint = f"Give --base-url {job.endpoint}, or for another endpoint another OUT."
            raise UsageError("other_endpoint", message, hint)

    def seen(self, batch_id: str) -> Seen:
        return Seen.of(self.patience.until_done(lambda: self.api.batch(batch_id)))


def _checked(settings: Settings) -> Settings:
    """The settings that hold for the provider's engine: without a time limit where none was
    given for this command. Raises UsageError."""
    for name in ("offline", "record", "replay"):
        if getattr(settings, name):
            message = f"{settings.origins[name]}: a batch at the provider needs the provider"
            raise UsageError("bad_option", message)
    given = settings.origins.get("timeout", "").startswith(("--", "PIPECHAT_"))
    return settings if given else settings._replace(timeout_s=None)


def _job_to_go_on_with(files: JobFiles, provider: _Provider) -> BatchJob:
    """The job that stands, without what was fetched of it; a new one where that is all."""
    job = files.read()
    if job is not None and job.held:
        provider.check(job)
        files.sweep(job)
        fetched = [part.number for part in job.parts if part.is_fetched]
        return job.without(*fetched)
    files.forget()
    return new_job(provider.settings.endpoint.url)


def _results(settings: Settings, part: Part) -> Results:
    wanted = None
    kept: Mapping[str, Any] | None = part.wanted
    if kept is not None:
        from pipechat.answers.wanted import wanted_of

        wanted = wanted_of(kept)
    return Results(settings, wanted, part.model, part.time)


def _show(env: Environment, settings: Settings, standings: list[Standing]) -> None:
    if settings.summary_format == "json":
        env.stdout.write(jsonl.dumps(status_record(standings)) + b"\n")
        return
    lines = "".join(f"{visible_line(each.line())}\n" for each in standings)
    env.stdout.write(lines.encode("utf-8", "replace"))
