"""Jinja2 held in: a template reads what it is given, and is bounded in time and in memory.

Beyond Jinja2's own sandbox: methods and filters are those named here; every value that a
template makes is measured before or when it is made, and what work is done on as well; loops and
calls are counted. Macros and
recursive loops are not to be had, since nothing bounds how often they call themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from functools import wraps
from typing import Any

import jinja2
from jinja2 import nodes
from jinja2.runtime import Context, LoopContext
from jinja2.sandbox import ImmutableSandboxedEnvironment

from pipechat.errors import UsageError
from pipechat.text import visible_line
from pipechat.turn import template_limits as limits
from pipechat.turn.template_tree import check_tree, names_in, put_bounds

_MOST_SOURCE = 1 << 20
_METHODS: dict[type, set[str]] = {
    str: {
        *("capitalize", "casefold", "count", "endswith", "find", "index", "isalnum", "isalpha"),
        *("isascii", "isdecimal", "isdigit", "islower", "isnumeric", "isspace", "istitle"),
        *("isupper", "lower", "lstrip", "partition", "removeprefix", "removesuffix", "rfind"),
        *("rindex", "rpartition", "rsplit", "rstrip", "split", "splitlines", "startswith"),
        *("strip", "swapcase", "title", "upper"),
    },
    dict: {"get", "items", "keys", "values"},
    list: {"count", "index"},
    tuple: {"count", "index"},
    LoopContext: {"cycle", "changed"},
}
_FILTERS = (
    *("abs", "capitalize", "count", "d", "default", "dictsort", "first", "float", "groupby"),
    *("int", "items", "last", "length", "list", "lower", "map", "max", "min", "reject"),
    *("rejectattr", "reverse", "select", "selectattr", "sort", "string", "sum", "title"),
    *("trim", "truncate", "unique", "upper", "wordcount"),
)
# Those that take as long whatever they are given.
_AT_ONCE = {"count", "length", "first", "last", "d", "default", "_made"}
_OUR_FILTERS: dict[str, Callable[..., Any]] = {
    "join": limits.join,
    "replace": limits.replace,
    "round": limits.round_number,
    "tojson": limits.tojson,
    "_concat": limits.concat,
    "_made": lambda value: value,  # measured, as what any filter makes
}


class SandboxedTemplate:
    """A template made ready (`turn.template.Template`). For one thread: renderings are counted."""

    def __init__(self, source: str, where: str) -> None:
        self._where = where
        self._sandbox = _Sandbox()
        if len(source) > _MOST_SOURCE:
            what = f"{where} is longer than {_MOST_SOURCE} characters"
            raise UsageError("bad_template", what)
        try:
            self._template = self._sandbox.from_string(source)
        except jinja2.TemplateSyntaxError as error:
            what = f"{where} is wrong in line {error.lineno}: {_line(error.message or '')}"
            raise UsageError("bad_template", what) from None
        except (SyntaxError, RecursionError, MemoryError, ValueError, OverflowError) as error:
            what = f"{where} is nested too deeply ({type(error).__name__})"
            raise UsageError("bad_template", what) from None

    def render(self, values: Mapping[str, Any]) -> str:
        """The text for `values`.

        Raises:
            UsageError: `undefined_variable`, with its name; `template_failed`: what it does is
                not allowed, too much, or makes no sense; each with the line.
        """
        self._sandbox.begin(values)
        try:
            return "".join(self._pieces(values))
        except jinja2.UndefinedError as error:
            what = f"{self._place(error)}: {_line(error.message or '')}"
            names = ", ".join(_line(str(name)) for name in list(values)[:20])
            raise UsageError("undefined_variable", what, f"Given: {names or 'nothing'}.") from None
        except Exception as error:  # an expression can raise whatever Python can
            what = f"{self._place(error)}: {_line(str(error) or type(error).__name__)}"
            raise UsageError("template_failed", what) from None

    @property
    def names(self) -> frozenset[str]:
        """As the protocol says."""
        return self._sandbox.names

    @property
    def read(self) -> Set[str]:
        """As the protocol says."""
        return self._sandbox.read

    def _pieces(self, values: Mapping[str, Any]) -> Iterator[str]:
        for piece in self._template.generate(dict(values)):
            self._sandbox.meter.count_output(piece)
            yield piece

    def _place(self, error: Exception) -> str:
        """`where`, with the line that was rendered: Jinja2 puts it into the traceback."""
        line = None
        traceback = error.__traceback__
        while traceback is not None:
            if traceback.tb_frame.f_code.co_filename == "<template>":
                line = traceback.tb_lineno
            traceback = traceback.tb_next
        return f"{self._where}, line {line}" if line else self._where


class _Sandbox(ImmutableSandboxedEnvironment):
    intercepted_binops = frozenset({"+", "*", "**", "%"})

    def __init__(self) -> None:
        super().__init__(
            undefined=jinja2.StrictUndefined,
            autoescape=False,
            keep_trailing_newline=True,
            optimized=False,  # nothing is computed while it is compiled, where nothing counts
            finalize=limits.shown,
            cache_size=0,
        )
        self.meter = limits.Meter()
        self.names: frozenset[str] = frozenset()
        self.read: set[str] = set()
        self._given: Mapping[str, Any] = {}
        self.globals = {"range": limits.number_range}
        works = {name: self.filters[name] for name in _FILTERS} | _OUR_FILTERS
        self.filters = {
            name: self._measured(work, looks=name not in _AT_ONCE) for name, work in works.items()
        }
        self.filters["_counted"] = self._counted
        self.filters["_read"] = self._noted
        tests: Any = self.tests  # Jinja2 declares its own as no more than functions
        self.tests = {name: self._measured(test) for name, test in tests.items()}
        self.concat = limits.concat_texts  # type: ignore[method-assign]  # because Jinja2 looks it up there

    def begin(self, given: Mapping[str, Any]) -> None:
        """Forget what earlier renderings took and read; `given`: the values of this one."""
        self.meter = limits.Meter()
        self.read = set()
        self._given = given

    def _measured(self, work: Callable[..., Any], *, looks: bool = True) -> Callable[..., Any]:
        """`work` with its result measured, and what it is given where it `looks` at all of it."""

        @wraps(work)  # with the mark that says which of them take the environment first
        def measured(*args: Any, **named: Any) -> Any:
            self.meter.step()
            if looks:
                self._measure_each(args, named)
            made = self.meter.measure(work(*args, **named))
            return limits.Values(self._count_each(made)) if isinstance(made, Iterator) else made

        return measured

    def _noted(self, value: Any, name: str) -> Any:
        """`value`, and that `name` was read, unless the template itself gave it this value."""
        if name in self._given and value is self._given[name]:
            self.read.add(name)
        return value

    def _measure_each(self, args: Iterable[Any], named: Mapping[str, Any]) -> None:
        for value in (*args, *named.values()):
            self.meter.measure(value)

    def _counted(self, values: Iterable[Any]) -> Any:
        """`values` for a loop, each of them counted; what is undefined says so itself."""
        return values if isinstance(values, jinja2.Undefined) else self._count_each(values)

    def _count_each(self, values: Iterable[Any]) -> Iterator[Any]:
        for value in values:
            self.meter.step()
            yield value

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        tree = super()._parse(source, name, filename)
        check_tree(tree)
        self.names = names_in(tree)
        bounded = put_bounds(tree)
        bounded.set_environment(self)
        return bounded

    def getattr(self, obj: Any, attribute: str) -> Any:
        """A key of an object before a method of it: `{{ mail.items }}` is a field."""
        if isinstance(obj, dict) and attribute in obj:
            return obj[attribute]
        return super().getattr(obj, attribute)

    def wrap_str_format(self, value: Any) -> None:
        """None: `format` is refused as other methods are, since `{:>999999999}` is no text."""

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        if isinstance(obj, LoopContext) and not attr.startswith("_") and not callable(value):
            return True
        return attr in _METHODS.get(type(obj), ())

    def call(self, context: Context, obj: Any, /, *args: Any, **named: Any) -> Any:
        self.meter.step()
        owner = getattr(obj, "__self__", None)
        if isinstance(owner, str | list | tuple):  # a dict's methods look at none of it
            self.meter.measure(owner)
        self._measure_each(args, named)
        return self.meter.measure(super().call(context, obj, *args, **named))

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        limits.check_operands(operator, left, right)
        self.meter.step()
        return self.meter.measure(super().call_binop(context, operator, left, right))


def _line(text: str) -> str:
    return visible_line(text if len(text) <= 200 else f"{text[:200]}…")
