"""--template: the question made of a template, its variables and what was given."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Set
from typing import NoReturn

from pipechat.commands.loading import blaming, text_or_file
from pipechat.errors import UsageError
from pipechat.settings.resolve import Settings
from pipechat.text import check_argument, visible_line
from pipechat.turn.template import Template, compile_template


def question_of_template(settings: Settings, read_input: Callable[[], str] | None) -> str:
    """The question that the template makes.

    Args:
        read_input: gives the words and stdin; None: there is nothing of either.

    Raises:
        UsageError: the template is none, a variable has no value, or there is input, or a --var,
            that the template does not read.
    """
    template, source = _compiled(settings)
    values = {
        name: check_argument(text, f"--var {name}") for name, text in settings.variables.items()
    }
    if read_input is not None:
        values["input"] = _input(read_input)
    with blaming(settings, "template"):
        question = template.render(values)
    if values.get("input", "").strip() and "input" not in template.read:
        what = "there is input, and the template reads no {{ input }}"
        _complain(source, "input", what, "Name it there, or use --no-stdin.")
    _check_variables(settings, source, template.read | template.names)
    if not question.strip():
        raise UsageError("empty_question", "the template makes an empty question")
    return question


def _check_variables(settings: Settings, source: str, read: Set[str]) -> None:
    if settings.origins.get("variables") == "--var":  # the environment's may be another's
        for name in sorted(settings.variables.keys() - read):
            _complain(source, name, f"--var {name}: the template reads no {{{{ {name} }}}}")


def _complain(source: str, name: str, what: str, hint: str = "") -> NoReturn:
    if re.search(rf"(?<!{{){{\s*{name}\s*}}(?!}})", source):
        hint = f"Did you mean {{{{ {name} }}}}?"
    raise UsageError("bad_option", what, hint)


def template_of(settings: Settings) -> Template:
    """The template that --template gives or names. Raises UsageError."""
    template, source = _compiled(settings)
    _check_variables(settings, source, template.names)
    return template


def _compiled(settings: Settings) -> tuple[Template, str]:
    """The template made ready, and its source."""
    named = settings.template or ""
    limit = settings.timeout_s
    ends_at = None if limit is None else time.monotonic() + limit
    source = text_or_file(settings, "template", named, ends_at)
    file = visible_line(named[1:]) if named.startswith("@") else ""
    with blaming(settings, "template"):
        return compile_template(source, where=f"the template {file}".rstrip()), source


def _input(read_input: Callable[[], str]) -> str:
    try:
        return read_input()
    except UsageError as error:
        if error.code != "empty_question":
            raise
        return ""
