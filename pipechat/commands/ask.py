"""`pipechat ask`: one question, its answer on stdout."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from pipechat import jsonl
from pipechat.commands import options as opt
from pipechat.commands.accounts import open_accounts
from pipechat.commands.loading import blaming, load_settings
from pipechat.commands.reporting import report, usage_line
from pipechat.commands.showing import answer_sink, reading_told, telling_waits
from pipechat.commands.stores import open_keeper
from pipechat.commands.telling import TellingSink, failed_before_start
from pipechat.commands.wiring import guard_against_signals, learned_api, make_client
from pipechat.environment import Environment, Output
from pipechat.errors import PipechatError, UsageError, as_ours
from pipechat.events import Sink, TerminalEvent
from pipechat.messages import new_turn_id
from pipechat.settings.resolve import Settings
from pipechat.show.sinks import OnceBroken, make_sink
from pipechat.text import check_argument, decode_text
from pipechat.turn.conversation import Conversation, Keeper, Wanted, prepare_turn
from pipechat.turn.prompt import Question, compose_question

if TYPE_CHECKING:
    from pipechat.turn.attachments import Attachment


@opt.with_options("ask")
def ask(
    context: typer.Context,
    question: Annotated[
        list[str] | None,
        typer.Argument(
            help="The question; `-`, or none at all, takes it from stdin. With both, stdin "
            "follows the words after an empty line.",
            metavar="[QUESTION…|-]",
            show_default=False,
            rich_help_panel="Question",
        ),
    ] = None,
    **given: Any,
) -> int:
    """Ask a question; the answer streams to stdout, and nothing else does."""
    env: Environment = context.obj
    output_format = given["output_format"] or env.environ.get("PIPECHAT_OUTPUT_FORMAT")
    try:
        settings = load_settings(env, given, "ask")
        output_format = settings.output_format
        return _ask(env, settings, question or [])
    except Exception as error:
        _tell_programs(env, as_ours(error), output_format)
        raise


class _Asked(NamedTuple):
    """The question, what its answer has to be, and when its time began, as `time.monotonic`."""

    question: Question
    wanted: Wanted | None
    began: float


def _ask(env: Environment, settings: Settings, words: list[str]) -> int:
    began = time.monotonic()
    wanted = _wanted(env, settings)
    attachments = _attachments(env, settings, words)
    text = _read_question(env, settings, words)
    question = Question(text, attachments, settings.keep_files)
    if settings.dry_run:
        _print_request(env, settings, question, wanted)
        return 0
    # A person who types may take their time.
    asked = _Asked(question, wanted, time.monotonic() if env.stdin.is_terminal else began)
    if settings.once is None:
        terminal, cause = _answer(env, settings, asked)
    else:
        terminal, cause = _answer_once(env, settings, asked)
    if settings.usage:
        env.stderr.note(usage_line(terminal))
    if cause is not None:
        report(env, cause)
    return int(terminal.exit_code)


def _answer(
    env: Environment, settings: Settings, asked: _Asked, once: Mapping[str, str] | None = None
) -> tuple[TerminalEvent, PipechatError | None]:
    """Ask the model. `once`: what the record says of --once."""
    from pipechat.client.ahead import ConnectionAhead

    spent_s = time.monotonic() - asked.began
    wanted = asked.wanted
    keeper = _keeper(env, settings)
    accounts = open_accounts(env, settings)
    with ConnectionAhead() as ahead:
        client = make_client(env, settings, spent_s, accounts, ahead)
        conversation = Conversation(
            settings,
            keeper,
            client,
            lambda run, _answer: guard_against_signals(env, run),
            wanted,
            once,
            accounts.keeping if accounts is not None else None,
        )
        with _opened_sink(env, settings, extract=wanted is not None) as sink:
            if settings.schema is None or not settings.schema_retries:
                return conversation.ask(asked.question, sink)
            from pipechat.commands.wanted import ask_until_it_matches

            return ask_until_it_matches(settings, conversation, client, asked.question, sink)


def _answer_once(
    env: Environment, settings: Settings, asked: _Asked
) -> tuple[TerminalEvent, PipechatError | None]:
    """Tell what the session has of this key; where it has nothing, ask the model."""
    from pipechat.commands.once import recorded_or_taken

    with recorded_or_taken(env, settings, asked.question, asked.wanted, asked.began) as found:
        if found.show is None:
            return _answer(env, settings, asked, found.mark)
        with _opened_sink(env, settings, extract=asked.wanted is not None) as sink:
            return found.show(sink)


def _attachments(env: Environment, settings: Settings, words: list[str]) -> Sequence[Attachment]:
    if not settings.files:
        return ()
    from pipechat.commands.attaching import read_attachments

    return read_attachments(settings, words, lambda: _read_stdin(env, settings))


def _wanted(env: Environment, settings: Settings) -> Wanted | None:
    if settings.schema is None and settings.extract is None:
        return None
    from pipechat.commands.wanted import read_wanted

    return read_wanted(env, settings)


def _read_question(env: Environment, settings: Settings, words: list[str]) -> str:
    """The question: what was given, or what a template makes of it."""
    if settings.template is None:
        return _read_input(env, settings, words)
    from pipechat.commands.templating import question_of_template

    has_data = env.stdin.is_data and not settings.no_stdin and "-" not in settings.files
    return question_of_template(
        settings, (lambda: _read_input(env, settings, words)) if words or has_data else None
    )


def _read_input(env: Environment, settings: Settings, words: list[str]) -> str:
    """The words, and stdin where `-` stands; without a `-`, behind the words."""
    words = [check_argument(word, "the question") for word in words]
    dash = words.index("-") if "-" in words else len(words)
    wants_stdin = not words or dash < len(words)
    before, after = words[:dash], [word for word in words[dash:] if word != "-"]
    data = None
    if settings.no_stdin:
        if dash < len(words):
            message = "`-` asks for stdin, and --no-stdin leaves it alone"
            raise UsageError("bad_option", message, "Leave one of them out.")
        if wants_stdin:
            raise UsageError("empty_question", "--no-stdin leaves no question without words")
    elif "-" not in settings.files and (wants_stdin or env.stdin.is_data):
        data = _read_stdin(env, settings)
    text = None if data is None else decode_text(data, "stdin", lossy=settings.lossy)
    if text is None or not text.strip():
        if text is not None and words and env.verbose:
            env.stderr.note("stdin held blanks alone" if text else "stdin was empty")
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
    with reading_told(env) as tick:
        return env.stdin.read_all(
            settings.max_input_bytes, settings.timeout_s, lambda: env.warn(waiting), tick
        )


def _keeper(env: Environment, settings: Settings) -> Keeper:
    wait: Any = settings.if_busy
    with blaming(settings, "session"):
        return open_keeper(env, settings.session, wait, settings.timeout_s)


def _print_request(
    env: Environment, settings: Settings, question: Question, wanted: Wanted | None
) -> None:
    with blaming(settings, "session"):
        keeper = open_keeper(env, settings.session)
    prepared = prepare_turn(settings, keeper, new_turn_id(), question, wanted)
    from pipechat.client.request_form import RequestForm

    memory = learned_api(env, settings)
    form = RequestForm(settings, lambda _: None, memory and memory(settings.model))
    env.stdout.write(jsonl.dumps(form.body(prepared.request)) + b"\n")


@contextmanager
def _opened_sink(env: Environment, settings: Settings, *, extract: bool) -> Iterator[Sink]:
    """The sink for stdout, or for FILE, of which nothing is left where the answer is not whole.

    Raises:
        OutputError: it cannot be written; nothing was sent.
    """
    file, path = None, settings.output
    if path is not None and path != "-":
        from pipechat.show.files import FileOutput, FileSink, open_in_place

        waiting = f"waiting for a reader of {path}"
        with blaming(settings, "output"):
            fd = open_in_place(path, settings.timeout_s, lambda: env.warn(waiting))
            if fd is None:
                file = FileOutput(path, 0o666 & ~env.umask)
        if fd is not None:
            env.stdout = env.stderr.beside = Output(fd, name=path, waits=env.waits)
    if file is None:
        env.stdout.check_open()
        sink = answer_sink(env, settings, settings.output_format, extract=extract)
    else:
        written = make_sink(file, settings.output_format, extract=extract)
        shown = make_sink(env.stdout, settings.output_format, raw=settings.raw, extract=extract)
        sink = FileSink(written, file, shown, "stdout")
    if settings.verbose:
        sink = TellingSink(env, sink)
    try:
        shows_texts = file is None and not extract and settings.output_format != "json"
        yield telling_waits(env, settings, OnceBroken(sink), shows_texts=shows_texts)
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
