"""`pipechat ask`: one question, its answer on stdout."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Annotated, Any, get_args

import typer

from pipechat import jsonl
from pipechat.commands import options as opt
from pipechat.commands.wiring import (
    TellingSink,
    failed_before_start,
    guard_against_signals,
    load_settings,
    make_client,
    open_keeper,
    report,
    usage_line,
)
from pipechat.environment import Environment, Output
from pipechat.errors import PipechatError, UsageError
from pipechat.events import Sink
from pipechat.messages import new_turn_id
from pipechat.settings.resolve import Settings
from pipechat.show.files import FileOutput, FileSink, open_in_place
from pipechat.show.sinks import OnceBroken, make_sink
from pipechat.text import check_argument, decode_text
from pipechat.turn.conversation import Conversation, IfBusy, Keeper, prepare_turn
from pipechat.turn.prompt import compose_question
from pipechat.wire.chat_completions import ChatCompletions


def ask(
    context: typer.Context,
    question: Annotated[
        list[str] | None,
        typer.Argument(
            help="The question; `-`, or none at all, takes it from stdin. With both, stdin "
            "follows the words after an empty line.",
            metavar="[QUESTION…|-]",
            show_default=False,
        ),
    ] = None,
    session: opt.Session = None,
    last_turns: opt.LastTurns = None,
    context_tokens: opt.ContextTokens = None,
    model: opt.Model = None,
    temperature: opt.Temperature = None,
    max_tokens: opt.MaxTokens = None,
    options: opt.Options = None,
    system: opt.System = None,
    output_format: Annotated[
        str | None,
        opt.option(
            "--output-format",
            help="text, json (the last event alone), ndjson or stream-json [text].",
            metavar="FORMAT",
        ),
    ] = None,
    output: Annotated[
        str | None,
        opt.option(
            "--output",
            "-o",
            help="Write to FILE, which appears only when the answer is whole.",
            metavar="FILE",
        ),
    ] = None,
    no_stream: Annotated[
        bool, opt.option("--no-stream", help="Ask for the whole answer at once.")
    ] = False,
    no_stdin: Annotated[
        bool, opt.option("--no-stdin", help="Leave stdin alone, for `while read` loops.")
    ] = False,
    dry_run: Annotated[
        bool, opt.option("--dry-run", help="Print the request as JSON; send nothing.")
    ] = False,
    timeout: opt.Timeout = None,
    first_token_timeout: opt.FirstTokenTimeout = None,
    idle_timeout: opt.IdleTimeout = None,
    retries: opt.Retries = None,
    allow_truncated: opt.AllowTruncated = False,
    if_busy: opt.IfBusy = None,
    proxy: opt.Proxy = None,
    base_url: opt.BaseUrl = None,
    insecure_http: opt.InsecureHttp = False,
    profile: opt.Profile = None,
    offline: opt.Offline = False,
    raw: opt.Raw = False,
    lossy: opt.Lossy = False,
    quiet: opt.Quiet = False,
    verbose: opt.Verbose = False,
    usage: opt.ShowUsage = False,
) -> int:
    """Ask a question; the answer streams to stdout, and nothing else does."""
    given = {name: value for name, value in locals().items() if name not in _NOT_SETTINGS}
    env: Environment = context.obj
    try:
        settings = load_settings(env, given)
        output_format = settings.output_format
        return _ask(env, settings, question or [], given)
    except PipechatError as error:
        _tell_programs(env, error, output_format)
        raise


_NOT_SETTINGS = ("context", "question")
_NOTABLE_S = 0.5  # less time is none that a person would miss


def _ask(env: Environment, settings: Settings, words: list[str], given: dict[str, Any]) -> int:
    started = time.monotonic()
    question = _read_question(env, settings, words, given)
    if not env.stdin.is_terminal:
        settings = _with_time_left(settings, time.monotonic() - started)
    if given["dry_run"]:
        _print_request(env, settings, question, given["session"])
        return 0
    keeper = _keeper(env, settings, given["session"], given["if_busy"])
    client = make_client(env, settings)
    conversation = Conversation(
        settings, keeper, client, lambda run, _answer: guard_against_signals(env, run)
    )
    with _opened_sink(env, settings, given["output"], raw=given["raw"]) as sink:
        terminal, cause = conversation.ask(question, sink)
    if settings.usage:
        env.stderr.note(usage_line(terminal))
    if cause is not None:
        report(env, cause)
    return int(terminal.exit_code)


def _read_question(
    env: Environment, settings: Settings, words: list[str], given: dict[str, Any]
) -> str:
    """The words, and stdin where `-` stands; without a `-`, behind the words."""
    words = [check_argument(word, "the question") for word in words]
    dash = words.index("-") if "-" in words else len(words)
    wants_stdin = not words or dash < len(words)
    before, after = words[:dash], [word for word in words[dash:] if word != "-"]
    data = None
    if given["no_stdin"]:
        if dash < len(words):
            message = "`-` asks for stdin, and --no-stdin leaves it alone"
            raise UsageError("bad_option", message, "Leave one of them out.")
        if wants_stdin:
            raise UsageError("empty_question", "--no-stdin leaves no question without words")
    elif wants_stdin or env.stdin.is_data:
        data = _read_stdin(env, settings)
    text = None if data is None else decode_text(data, "stdin", lossy=given["lossy"])
    if text is None or not text.strip():
        return compose_question(before + after, text)
    if after:
        gap = "\n" if text.endswith("\n") else "\n\n"
        text += gap + " ".join(after)
    return compose_question(before, text)


def _read_stdin(env: Environment, settings: Settings) -> bytes:
    if env.stdin.is_terminal:
        hint = "type the question, then Ctrl-D on a line of its own"
        return env.stdin.typed(settings.max_input_bytes, lambda: env.warn(hint))
    waiting = "waiting for stdin to end (--no-stdin leaves it alone)"
    return env.stdin.read_all(
        settings.max_input_bytes, settings.timeout_s, lambda: env.warn(waiting)
    )


def _with_time_left(settings: Settings, used_s: float) -> Settings:
    """--timeout is for the whole turn: what stdin took of it is gone."""
    if settings.timeout_s is None or used_s < _NOTABLE_S:
        return settings
    return replace(settings, timeout_s=max(round(settings.timeout_s - used_s, 1), 0.1))


def _keeper(
    env: Environment, settings: Settings, session: str | None, if_busy: str | None
) -> Keeper:
    if if_busy is not None and if_busy not in get_args(IfBusy):
        raise UsageError("bad_option", f"--if-busy: {if_busy!r} is neither wait nor fail")
    if if_busy is not None and session is None:
        raise UsageError("bad_option", "--if-busy needs a --session")
    wait: Any = if_busy
    return open_keeper(env, session, wait, settings.timeout_s)


def _print_request(
    env: Environment, settings: Settings, question: str, session: str | None
) -> None:
    keeper = _keeper(env, settings, session, None)
    prepared = prepare_turn(settings, keeper, new_turn_id(), question)
    env.stdout.write(jsonl.dumps(ChatCompletions().body(prepared.request)) + b"\n")


@contextmanager
def _opened_sink(
    env: Environment, settings: Settings, path: str | None, *, raw: bool
) -> Iterator[Sink]:
    """The sink for stdout, or for FILE, of which nothing is left where the answer is not whole.

    Raises:
        OutputError: it cannot be written; nothing was sent.
    """
    file = None
    if path is not None and path != "-":
        waiting = f"waiting for a reader of {path}"
        fd = open_in_place(path, settings.timeout_s, lambda: env.warn(waiting))
        if fd is None:
            file = FileOutput(path, 0o666 & ~env.umask)
        else:
            env.stdout = Output(fd, name=path, waits=env.waits)
    if file is None:
        env.stdout.check_open()
        sink = make_sink(env.stdout, settings.output_format, raw=raw)
    else:
        sink = FileSink(make_sink(file, settings.output_format), file)
    if env.verbose:
        sink = TellingSink(env, sink)
    try:
        yield OnceBroken(sink)
    finally:
        if file is not None:
            file.discard()


def _tell_programs(env: Environment, error: PipechatError, output_format: str | None) -> None:
    """A program that reads events gets its terminal event, though nothing started."""
    if output_format in ("json", "ndjson", "stream-json"):
        try:
            env.stdout.write(jsonl.dumps(failed_before_start(error).record()) + b"\n")
        except PipechatError:
            return  # the line on stderr and the exit code remain
