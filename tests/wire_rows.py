"""A table's row: what a server does, and what comes of it in either dialect, in text and ndjson."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from tests.program import Program, Result
from tests.servers import ChatServer, Reply
from tests.servers.dialects import Form, Part, spoken

ASKED_BY: Mapping[str, tuple[str, ...]] = {"chat": (), "responses": ("--api", "responses")}


class Row(NamedTuple):
    """`reply`: makes it for a dialect; `server`: makes what is no server with a reply, `url` being
    the name of its attribute. `text`: the answer, without closing newline; with `some`, any
    beginning of it. `says`: what stderr holds, `{host}` filled in. `finish_reason`: "" stands for
    `stop` of a whole answer, and for none of any other."""

    name: str
    reply: Callable[[str], Reply] | None
    text: str = "Hi"
    status: int = 0
    code: str = ""
    finish_reason: str | None = ""
    usage: Mapping[str, Any] | None = None
    reasoning: str = ""
    says: str = ""
    options: tuple[str, ...] = ()
    url: str = "url"
    some: bool = False
    server: Callable[[], Any] | None = None

    def serve(self, api: str) -> Any:
        """What is asked, not yet entered."""
        if self.server is not None:
            return self.server()
        assert self.reply is not None
        return ChatServer(self.reply(api))


def replied(name: str, reply: Reply, **expected: Any) -> Row:
    """A row whose reply is the same in either dialect."""
    return Row(name, lambda _api: reply, **expected)


def stream(name: str, *parts: Part, form: Form | None = None, **expected: Any) -> Row:
    """A row whose reply is an event stream of `parts`."""
    return Row(name, lambda api: spoken(api, *parts, form=form), **expected)


def refusal(name: str, reply: Reply, status: int, code: str, says: str = "") -> Row:
    """A row of a server that gives no answer."""
    return replied(name, reply, text="", status=status, code=code, says=says)


def check(program: Program, row: Row, api: str) -> None:
    """Ask twice, in text and in ndjson, and see that exit code, stdout, stderr, events and record
    are the row's."""
    with row.serve(api) as server:
        url = getattr(server, row.url)
        where = ("--session", "s", "--retries", "0", "--base-url", url)
        ask = ("ask", *where, *ASKED_BY[api], *row.options, "hello")
        plain = program.run(*ask)
        told = program.run(*ask, "--output-format", "ndjson")
        requests = getattr(server, "requests", [])
    path = {"chat": "/v1/chat/completions", "responses": "/v1/responses"}[api]
    assert [each.path for each in requests] in ([], [path] * 2)
    text = _check_text(row, plain, url)
    _check_events(row, told, text)
    _check_records(row, program, text, api)


def _check_text(row: Row, plain: Result, url: str) -> str:
    assert (plain.status, plain.code) == (row.status, row.code), plain.stderr
    host = url.removeprefix("https://").removeprefix("http://").removesuffix("/v1")
    assert row.says.format(host=host) in plain.stderr.decode()
    assert plain.stderr.count(b"\n") == (1 if row.code else 0)
    stdout = plain.stdout.decode()
    text = row.text
    if row.some:
        assert row.text.startswith(stdout)
        text = stdout
    assert stdout == text + ("\n" if row.status == 0 else "")
    return text


def _check_events(row: Row, told: Result, text: str) -> None:
    last = told.events[-1]
    assert told.status == row.status
    assert last["type"] == ("error" if row.code else "end")
    assert last.get("exit_code", 0) == row.status
    assert (last["answer"], last.get("code", "")) == (text, row.code)
    assert (last["finish_reason"], last["usage"]) == (_finish_reason(row), row.usage)
    reasoning = [each["text"] for each in told.events if each["type"] == "reasoning"]
    assert "".join(reasoning) == row.reasoning


def _check_records(row: Row, program: Program, text: str, api: str) -> None:
    records = program.records("s")
    assert len(records) == 2
    status = "complete" if row.status == 0 else "partial" if text else "failed"
    for record in records:
        assert (record["status"], record["answer"]) == (status, text)
        assert (record["finish_reason"], record["usage"]) == (_finish_reason(row), row.usage)
        assert (record["error"] or {}).get("code", "") == row.code
        assert record["api"] == api
    assert program.spools() == []


def _finish_reason(row: Row) -> str | None:
    if row.finish_reason == "":
        return "stop" if row.status == 0 else None
    return row.finish_reason
