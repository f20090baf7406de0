"""--template: the question made of a template, its variables and what was given."""

from __future__ import annotations

import re
import time
from collections.abc import Callable

from pipechat.commands.loading import text_or_file
from pipechat.errors import UsageError
from pipechat.settings.resolve import Settings
from pipechat.text import check_argument, visible_line
from pipechat.turn.template import Template, compile_template

_INPUT = re.compile(r"\binput\b")


def question_of_template(settings: Settings, read_input: Callable[[], str] | None) -> str:
    """The question that the template makes.

    Args:
        read_input: gives the words and stdin; None: there is nothing of either.

    Raises:
        UsageError: the template is none, a variable has no value, or there is input that the
            template does not take.
    """
    template, source = _compiled(settings)
    values = {
        name: check_argument(text, f"--var {name}") for name, text in settings.variables.items()
    }
    if read_input is not None:
        values["input"] = _input(read_input)
        if values["input"].strip() and not _INPUT.search(source):
            message = "the template takes no {{ input }}, and there is some"
            raise UsageError("bad_option", message, "Name it there, or use --no-stdin.")
    question = template.render(values)
    if not question.strip():
        raise UsageError("empty_question", "the template makes an empty question")
    return question


def template_of(settings: Settings) -> Template:
    """The template that --template gives or names. Raises UsageError."""
    return _compiled(settings)[0]


def _compiled(settings: Settings) -> tuple[Template, str]:
    """The template made ready, and its source."""
    named = settings.template or ""
    source = text_or_file(settings, "template", named, time.monotonic())
    file = visible_line(named[1:]) if named.startswith("@") else ""
    return compile_template(source, where=f"the template {file}".rstrip()), source


def _input(read_input: Callable[[], str]) -> str:
    try:
        return read_input()
    except UsageError as error:
        if error.code != "empty_question":
            raise
        return ""
