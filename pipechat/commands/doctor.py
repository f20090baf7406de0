"""`pipechat doctor`: what may be wrong with the set-up, in one look."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Annotated, Any

import typer

from pipechat import jsonl
from pipechat.commands import options as opt
from pipechat.commands.history_output import Page, open_page
from pipechat.environment import Environment
from pipechat.errors import ExitCode, UsageError
from pipechat.text import not_one_of

_ALL_S = 8.5  # with what it takes to start, fewer than ten
_FORMATS = ("text", "json")
_SIDE_BY_SIDE = 60  # columns; on a terminal that is narrower the text stands below
_BELOW = " " * 6


_Format = Annotated[
    str,
    typer.Option(
        "--output-format",
        help="json: one object [text].",
        metavar="text|json",
        show_default=False,
        rich_help_panel="Output",
    ),
]


@opt.with_options("doctor")
def doctor(
    context: typer.Context,
    asks: Annotated[
        bool,
        typer.Option("--ask", help="Ask one tiny question as well.", rich_help_panel="Question"),
    ] = False,
    output_format: _Format = "text",
    **given: Any,
) -> int:
    """Look at key, proxy, network, endpoint, model, session folder, versions and clock.

    A line each: ok, warn or fail, and what to try. It takes ten seconds at most, and changes
    nothing. Exit 3 where anything fails.
    """
    env: Environment = context.obj
    if output_format not in _FORMATS:
        raise UsageError("bad_option", f"--output-format: {not_one_of(output_format, _FORMATS)}")
    from pipechat.commands.doctor_checks import Checks
    from pipechat.doctor.finding import Finding, worst
    from pipechat.doctor.time_left import TimeLeft

    findings: list[Finding] = []
    with open_page(env) as page:
        write = _line_writer(env, page) if output_format == "text" else None

        def found(finding: Finding) -> None:
            findings.append(finding)
            if write is not None:
                write(finding)

        Checks(env, given, found, TimeLeft(time.monotonic() + _ALL_S), asks=asks).run()
        verdict = worst(findings)
        if write is None:
            checks = [finding._asdict() for finding in findings]
            page.write(jsonl.dumps({"verdict": verdict, "checks": checks}) + b"\n")
    return int(ExitCode.SETUP) if verdict == "fail" else 0


def _line_writer(env: Environment, page: Page) -> Callable[[Any], None]:
    """What writes a finding at once: aligned on a terminal, else separated by tabs."""

    def write(finding: Any) -> None:
        check, verdict, message, hint = finding
        if env.stdout.is_terminal:
            lines = _laid_out(finding, env.stdout.columns())
        else:
            lines = ["\t".join((verdict, check, message, hint))]
        page.write("".join(f"{line}\n" for line in lines).encode())
        page.flush()

    return write


def _laid_out(finding: Any, columns: int) -> list[str]:
    """A finding in lines of a terminal's width, with nothing of it under its verdict."""
    from pipechat.show.wrapping import Span, wrapped

    check, verdict, message, hint = finding
    end = "" if message.endswith((".", "?")) or not hint else "."
    head = f"{verdict:<4}  {check:<10}  "
    indent = len(head) if columns >= _SIDE_BY_SIDE else len(_BELOW)
    text = wrapped([Span(f"{message}{end} {hint}".rstrip())], max(columns - indent, 1))
    lines = ["".join(span.text for span in line) for line in text]
    if indent == len(head):
        return [head + lines[0], *(" " * indent + line for line in lines[1:])]
    return [head.rstrip(), *(_BELOW + line for line in lines)]
