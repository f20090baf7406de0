"""A conversation of `chat` in the process of the tests: typed by a list, answered by another.

All is real between the editor and the client: loop, commands, turns, sinks, the store.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from pipechat.chat import loop
from pipechat.chat.editor import LineGivenUp
from pipechat.chat.talk import Talk
from pipechat.commands.chat_turns import Asking
from pipechat.commands.stores import open_keeper
from pipechat.environment import Environment, Messages, Output
from pipechat.errors import PipechatError
from pipechat.events import Chunk, Judge, Step
from pipechat.messages import ChatRequest
from pipechat.settings.resolve import resolve_settings
from pipechat.stdin import Input


class CtrlC(str):
    """A line at which Ctrl-C is pressed."""


class _Answer:
    api = "chat"

    def __init__(self, model: str, steps: list[Step | Exception]) -> None:
        self.model = model
        self._steps = steps

    def __iter__(self) -> Iterator[Step]:
        for step in self._steps:
            if isinstance(step, Exception):
                raise step
            yield step

    def cancel(self, cause: PipechatError) -> None:
        self._steps = [cause]


class Model:
    """Answers in their order: a text is a whole answer, a text and a cause a cut one."""

    dialect_name = "test"

    def __init__(self, *answers: str | Exception | tuple[str, str | Exception]) -> None:
        self._answers = list(answers)
        self.requests: list[ChatRequest] = []

    def answer(self, request: ChatRequest, judge: Judge) -> _Answer:  # noqa: ARG002 — a protocol's
        self.requests.append(request)
        given = self._answers.pop(0)
        if isinstance(given, Exception):
            return _Answer(request.model, [given])
        text, end = given if isinstance(given, tuple) else (given, "stop")
        if isinstance(end, Exception):
            return _Answer(request.model, [Chunk(text=text), end])
        usage = {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}
        return _Answer(request.model, [Chunk(text=text, finish_reason=end, usage=usage, done=True)])

    @property
    def asked(self) -> list[list[str]]:
        """What each request said, the system message aside."""
        return [
            [str(each["content"]) for each in request.messages if each["role"] != "system"]
            for request in self.requests
        ]


class _Typist:
    ends_its_line = True

    def __init__(self, lines: list[str]) -> None:
        self._lines = lines
        self.remembered: list[str] = []

    def ask(self, _prompt: str) -> str | None:
        if not self._lines:
            return None
        line = self._lines.pop(0)
        if isinstance(line, CtrlC):
            raise LineGivenUp(str(line))
        return line

    def remember(self, text: str) -> None:
        self.remembered.append(text)


class Said:
    """What a conversation left: stdout, stderr, what was not typed any more."""

    def __init__(self, stdout: str, stderr: str, left: list[str], past: list[str]) -> None:
        self.stdout = stdout
        self.stderr = stderr
        self.left = left
        self.past = past


def talk(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    model: Model,
    *lines: str,
    session: str | None = None,
    environ: Mapping[str, str] | None = None,
    terminal: bool = True,
    **settings: Any,
) -> Said:
    """Type `lines`, then Ctrl-D. `terminal`: whether stderr is one, too."""
    typed = list(lines)
    past: list[str] = []

    def open_editor(_environ: Mapping[str, str], before: list[str]) -> _Typist:
        past.extend(before)
        return _Typist(typed)

    monkeypatch.setattr(loop, "open_editor", open_editor)
    found = {"PIPECHAT_HOME": str(folder), "NO_COLOR": "1", **(environ or {})}
    resolved = resolve_settings({"session": session}, found, {})._replace(**settings)
    master, slave = os.openpty()
    outputs = [os.open(folder / name, os.O_RDWR | os.O_CREAT | os.O_TRUNC) for name in "12"]
    env = Environment(
        stdin=Input(slave),
        stdout=Output(outputs[0], name="stdout"),
        stderr=Messages(Output(outputs[1], name="stderr")),
        environ=found,
        umask=0o077,
        quiet=resolved.quiet,
    )
    env.stdout.is_terminal = True
    env.stderr.is_terminal = terminal
    asking = Asking(env, model)
    try:
        loop.converse(Talk(env, resolved, open_keeper(env, session), asking))
        stdout, stderr = ((folder / name).read_text() for name in "12")
    finally:
        for fd in (master, slave, *outputs):
            with suppress(OSError):
                os.close(fd)
    return Said(stdout, stderr, typed, past)
