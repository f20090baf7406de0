"""Templates of questions, `--template` and batch: compiled once, rendered for each item.

Jinja2 is an extra, imported by `turn.sandbox` alone, which comes only when there is a template.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import Any, Protocol

from pipechat.errors import missing_extra


class Template(Protocol):
    """A template made ready. One thread at a time may render it."""

    @property
    def names(self) -> Set[str]:
        """The names that it may read, in any of its branches."""
        ...

    @property
    def read(self) -> Set[str]:
        """The names whose given value the last rendering really read."""
        ...

    def render(self, values: Mapping[str, Any]) -> str:
        """The text for `values`. Raises UsageError: `undefined_variable`, `template_failed`."""
        ...


def compile_template(source: str, *, where: str = "the template") -> Template:
    """`source` made ready; any number of items may be rendered from it.

    The language is Jinja2's without what reaches outside: no include, import or extends, no
    macro, no attribute that begins with an underscore. A name that is not given is an error.
    Nothing is escaped, and the last newline stays.

    Args:
        where: what messages call it, such as `the template question.txt`.

    Raises:
        UsageError: `missing_extra`: Jinja2 is not installed; `bad_template`, with the line.
    """
    try:
        from pipechat.turn.sandbox import SandboxedTemplate
    except ImportError as error:
        raise missing_extra("a template needs Jinja2", "jinja2>=3.1.6") from error
    return SandboxedTemplate(source, where)
