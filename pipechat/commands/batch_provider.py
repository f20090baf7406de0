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
from pipechat.batch.job_faults import unreadable
from pipechat.batch.job_files import JobFiles
from pipechat.batch.journal import OutputFile
from pipechat.batch.patience import Patience
from pipechat.batch.planning import Planner, Submitted
from pipechat.batch.results import Results
from pipechat.batch.seen import Seen
from pipechat.batch.standing import Standing, status_record
from pipechat.batch.submitting import Submitter, new_job
from pipechat.client.batch_api import BatchApi, advise_of_batches
from pipechat.commands.batch_ends import (
    bodies_of,
    conclude,
    forget,
    item_reader,
    kept_in_ledger,
    open_output,
    open_source,
    rows_of,
    show_failures,
    started_over,
)
from pipechat.commands.calling import check_online, make_calls
from pipechat.commands.reporting import report
from pipechat.commands.wanted import read_wanted
from pipechat.commands.wiring import with_key
from pipechat.environment import Environment
from pipechat.errors import PipechatError, RefusedError, UsageError
from pipechat.settings.resolve import Settings
from pipechat.text import counted, visible_line


def submit_batch(env: Environment, settings: Settings, source_name: str) -> int:
    """Check every item, and hand over those that are to be asked; the exit status."""
    settings = _without_budgets(_checked(settings))._replace(stream=False)
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
        if settings.fresh:
            rows = started_over(env, output, rows)
        job = _job_to_go_on_with(files, provider)
        summary = Submitted()
        kept = wanted.record() if wanted is not None else None
        body = bodies_of(env, settings)
        planner = Planner(files, output, reader, body, kept, retry_failed=settings.retry_failed)
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
    standings = [provider.standing(part) for part in job.parts]
    refusals = [each.error for each in standings if each.error is not None]
    return _shown(env, settings, standings, next(iter(refusals), None))


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
            lambda part: _results(settings, files, part),
            env.stderr.note if env.verbose else lambda _: None,
            kept_in_ledger(env, settings, path),
        )
        unsure: Mapping[int, PipechatError] = {}
        try:
            job, unsure = Submitter(files, provider.api, provider.patience).adopt(job)
            fetcher.fetch(job, waits=settings.wait)
        except PipechatError as error:
            # Of a part that may have a batch or not, why that is not known is what helps.
            why = next(iter(unsure.values()), error)
            fetcher.summary.stopped = why if error.code == "not_ready" else error
    seconds = time.monotonic() - began
    return conclude(env, settings, fetcher.summary, seconds, to_file=True)


def cancel_batch(env: Environment, settings: Settings, path: str) -> int:
    """Cancel what is not at its end; how the parts stand, on stdout; the exit status."""
    if settings.forget:
        return _forget(env, settings, path)
    JobFiles(path).existing()
    with ExitStack() as stack:
        provider = _Provider(env, _checked(settings))
        output = OutputFile(path)
        stack.callback(output.close)
        files = JobFiles(path)
        job = files.existing()
        provider.check(job)
        job, unsure = Submitter(files, provider.api, provider.patience).adopt(job)
        for number, why in unsure.items():
            if isinstance(why, RefusedError):
                env.warn(f"part {number} is given up: {why.message}")
        standings, error = cancel(job, files, provider.api, provider.patience, unsure)
    return _shown(env, settings, standings, error)


def _forget(env: Environment, settings: Settings, path: str) -> int:
    """Let go of all that was submitted, whatever the provider says; the exit status."""
    files = JobFiles(path)
    with ExitStack() as stack:
        if not files.is_there():
            files.existing()
        output = OutputFile(path)
        stack.callback(output.close)
        forget(env, files)
    return _shown(env, settings, [], None)


class _Provider:
    """The endpoint's batch engine, and how long it may take. Raises SetupError, UsageError."""

    def __init__(self, env: Environment, settings: Settings) -> None:
        from pipechat.client.advice import advise_of_key

        self.settings = settings = with_key(env, settings)
        ends_at = None
        if settings.timeout_s is not None:
            ends_at = time.monotonic() + settings.timeout_s

        def advise(error: PipechatError) -> None:
            advise_of_batches(error)
            advise_of_key(error, settings)

        self.api = BatchApi(make_calls(env, settings, ends_at, advise))
        tell = env.stderr.note if env.verbose else lambda _: None
        self.patience = Patience(settings.retries, ends_at, tell)

    def check(self, job: BatchJob) -> None:
        """Raises UsageError where `job` is at another endpoint."""
        here = self.settings.endpoint.url
        if job.endpoint != here:
            message = f"it was submitted to {job.endpoint}, and this is {here}"
            hint = f"Give --base-url {job.endpoint}, or for another endpoint another OUT."
            raise UsageError("other_endpoint", message, hint)

    def standing(self, part: Part) -> Standing:
        """How a part stands. Raises SetupError, TryLaterError."""
        batch_id = part.batch_id
        if batch_id is None or part.is_fetched:
            return Standing(part)
        try:
            batch = self.patience.until_done(lambda: self.api.batch(batch_id))
        except RefusedError as error:
            return Standing(part, error=error)
        return Standing(part, Seen.of(batch))


def _checked(settings: Settings) -> Settings:
    """The settings that hold for the provider's engine: without a time limit where none was
    given for this command. Raises UsageError."""
    check_online(settings, "a batch at the provider needs the provider")
    given = settings.origins.get("timeout", "").startswith(("--", "PIPECHAT_"))
    return settings if given else settings._replace(timeout_s=None)


def _without_budgets(settings: Settings) -> Settings:
    """The settings, which name no budget. Raises UsageError where they do."""
    if not settings.budget:
        return settings
    message = f"{settings.origins['budget']}: what the provider's batch takes shows days later"
    raise UsageError("bad_option", message, "Take `batch run`, or --budget none.")


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


def _results(settings: Settings, files: JobFiles, part: Part) -> Results:
    """What reads the results of a part. Raises SessionError."""
    wanted = None
    kept: Mapping[str, Any] | None = part.wanted
    if kept is not None:
        from pipechat.answers.wanted import wanted_of

        try:
            wanted = wanted_of(kept)
        except (KeyError, UsageError) as error:
            raise unreadable(files.state_path, f"what part {part.number} wants is none") from error
    return Results(settings, wanted, part.model, part.time)


def _shown(
    env: Environment, settings: Settings, standings: list[Standing], error: PipechatError | None
) -> int:
    """Show how the parts stand, and what went wrong with one; the exit status."""
    if settings.summary_format == "json":
        env.stdout.write(jsonl.dumps(status_record(standings)) + b"\n")
    else:
        lines = "".join(f"{visible_line(each.line())}\n" for each in standings)
        env.stdout.write(lines.encode("utf-8", "replace"))
    if error is None:
        return 0
    report(env, error)
    return int(error.exit_code)
