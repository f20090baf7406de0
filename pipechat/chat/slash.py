"""What `/` commands there are in `chat`, and what each does: one table, of which /help is made."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches

from pipechat.chat.talk import Talk, Without
from pipechat.errors import PipechatError, UsageError
from pipechat.show.transcript import first_words
from pipechat.show.width import cut

LEAVES = ("exit", "quit", "QUIT")
"""A line that is only one of these words leaves, at a terminal."""

_CONTINUE = "Continue where you stopped."
_NO_TURN = "There is no turn to go back to."
_UNANSWERED = "The last question was not answered; /retry asks it again."
_LONGEST_SHOWN = 200


@dataclass(frozen=True, slots=True)
class Command:
    """`argument`: how it is shown. `run`: does it; True where the conversation is over."""

    name: str
    argument: str
    help: str
    run: Callable[[Talk, str], bool | None]


def run_command(talk: Talk, text: str) -> bool:
    """Do what `text`, which begins with a slash, says; True where the conversation is over.

    Raises:
        PipechatError: it could not be done.
    """
    if text.startswith("//"):
        talk.ask(text[1:])
        return False
    word = text[1:].split(maxsplit=1)[0] if text[1:2].strip() else ""
    command = BY_NAME.get(word)
    if command is not None:
        return bool(command.run(talk, text[1 + len(word) :].strip()))
    near = get_close_matches(word, BY_NAME, 1)
    word = cut(word, _LONGEST_SHOWN)
    hint = f"Did you mean /{near[0]}?" if near else "/help shows what there is."
    talk.say(f"There is no command /{word}, so nothing was sent. {hint} //{word} sends it as text.")
    return False


def _help(talk: Talk, _: str) -> None:
    for command in COMMANDS:
        form = f"/{command.name} {command.argument}".rstrip()
        talk.say(f"{form:<16} {command.help}")
    talk.say(f"{'//TEXT':<16} send TEXT with one slash before it")
    talk.say(
        "A \\ at the end of a line goes on in the next. Ctrl-C clears it, or stops an answer. "
        f"Ctrl-D, Ctrl-C twice, or {', '.join(LEAVES)} alone on a line leave."
    )


def _model(talk: Talk, name: str) -> None:
    if name:
        talk.settings = talk.settings._replace(model=name)
    talk.say(f"The model is {cut(talk.settings.model, _LONGEST_SHOWN)}.")


def _system(talk: Talk, text: str) -> None:
    if text:
        talk.settings = talk.settings._replace(system=text)
        talk.say("The system message goes along from the next question on.")
        return
    sticky = talk.kept.earlier(0)[1]
    holds = (talk.settings.system, sticky, talk.settings.default_system)
    system = next((each for each in holds if each is not None), None)
    if system is None:
        talk.say("There is no system message.")
    else:
        talk.cite(system)


def _session(talk: Talk, name: str) -> None:
    if not name:
        kept = talk.kept.name
        talk.say("There is no session: /session NAME." if kept is None else f"Session {kept}.")
        return
    before = talk.kept
    talk.kept = talk.asks.open(name)
    try:
        if before.name is None and before.last() is not None:
            talk.aside("What was said before is not in it.")
        talk.open()
    except PipechatError:  # nothing could be kept in one that cannot be read
        talk.kept = before
        raise


def _retry(talk: Talk, _: str) -> None:
    former = talk.kept.last()
    if former is None:
        talk.say(_NO_TURN)
        return
    if former.files:
        talk.aside("The files that went along with it do not go along again.")
    replaced = (former.id, *talk.replaces.get(former.id, ()))
    without = Without(talk.kept, replaced)
    asked = talk.ask(former.question, without)
    # Where nothing whole came, what there was before still holds.
    if asked.status == 0:
        _leave_out(talk, replaced)
    else:
        talk.replaces[without.asked_id] = replaced


def _leave_out(talk: Talk, turn_ids: tuple[str, ...]) -> None:
    for turn_id in turn_ids:
        talk.kept.mark(turn_id, context=False)


def _undo(talk: Talk, _: str) -> None:
    turn = talk.kept.last()
    if turn is None:
        talk.say(_NO_TURN)
        return
    talk.kept.mark(turn.id, context=False)
    talk.cite(f"Left out from now on: {first_words(turn.question)}")


def _continue(talk: Talk, text: str) -> None:
    # A question that nothing came of, as of an earlier /continue, is passed over.
    turn = talk.kept.last(answered=True)
    if turn is None or turn.status != "partial":
        newest = talk.kept.last()
        is_open = newest is not None and not newest.answer.strip()
        talk.say(_UNANSWERED if is_open else "The last answer was not cut.")
        return
    _leave_out(talk, talk.replaces.get(turn.id, ()))
    if not turn.context:
        talk.kept.mark(turn.id, context=True)
    talk.ask(text or _CONTINUE)


def _usage(talk: Talk, _: str) -> None:
    counted = [event.usage for event in talk.ended if event.usage]
    if not counted:
        kept = talk.kept.name
        more = f" `pipechat usage {kept}` tells that of the session." if kept else ""
        talk.say(f"No answer of this chat has told its usage yet.{more}")
        return
    for title, usages in (("last", counted[-1:]), ("all", counted)):
        prompt, completion = (
            sum(count for usage in usages if isinstance(count := usage.get(name), int))
            for name in ("prompt_tokens", "completion_tokens")
        )
        turns = "1 turn" if len(usages) == 1 else f"{len(usages)} turns"
        both = prompt + completion
        talk.say(f"{title} ({turns}): {prompt} prompt + {completion} completion = {both} tokens")


def _save(talk: Talk, path: str) -> None:
    from pipechat.chat.saving import save

    if not path:
        talk.say("/save FILE: which file?")
        return
    if "\0" in path:
        raise UsageError("bad_path", f"no file can have the name {path}: it holds a NUL")
    count = save(talk.kept.all(), os.path.expanduser(path))
    talk.cite(f"{'1 turn is' if count == 1 else f'{count} turns are'} in {path}.")


def _edit(talk: Talk, text: str) -> None:
    from pipechat.chat.external_editor import written_in_editor

    written = written_in_editor(talk.env.environ, text, talk.settings.max_input_bytes)
    if written.strip():
        talk.ask(written)
    else:
        talk.say("Nothing was written, so nothing was sent.")


def _say(talk: Talk, text: str) -> None:
    if text:
        talk.ask(text)


COMMANDS = (
    Command("help", "", "show this", _help),
    Command("model", "[NAME]", "ask another model from now on", _model),
    Command("system", "[TEXT]", "set the system message", _system),
    Command("session", "[NAME]", "go on in another session", _session),
    Command("retry", "", "ask the last question again, without its former answer", _retry),
    Command("undo", "", "leave the last turn out of what goes along", _undo),
    Command("continue", "[TEXT]", "send a cut answer along, and ask for the rest", _continue),
    Command("edit", "[TEXT]", "write the question in $VISUAL or $EDITOR", _edit),
    Command("say", "TEXT", "send TEXT, whatever it begins with", _say),
    Command("usage", "", "tokens of the last turn and of all", _usage),
    Command("save", "FILE", "write the conversation to a new file", _save),
    Command("quit", "", "leave", lambda _talk, _text: True),
)
BY_NAME = {command.name: command for command in COMMANDS}
