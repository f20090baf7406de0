"""A run in the tests' own process is the run of a process, for every exit code; and both are
checked alike."""

import os
import re
import signal
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jsonschema_rs
import pytest

from pipechat import main
from pipechat.environment import Environment
from tests.history_kit import turn, write_session
from tests.in_process import InProcess
from tests.program import (
    PLANTED_HEADER,
    PLANTED_KEY,
    PLANTED_QUERY,
    Program,
    Result,
    a_program,
    check_events,
)
from tests.servers import ChatServer, Reply, answer, chunk, error_reply, stream_reply


@dataclass(frozen=True)
class Case:
    """A command line (`{url}` filled in) with its exit code."""

    status: int
    arguments: tuple[str, ...]
    reply: Reply | None = None
    input: bytes = b""
    config: str = ""


ASK = ("ask", "--retries", "0", "--base-url", "{url}", "--session", "s", "--usage")
CASES = {
    "an answer": Case(0, (*ASK, "hello"), answer("Hi")),
    "help": Case(0, ("ask", "--help")),
    "the version": Case(0, ("--version",)),
    "much on stdin": Case(0, ("ask", "--dry-run"), input=b"long " * 100_000),
    "records": Case(0, ("history", "show", "w", "--output-format", "json")),
    "nothing found": Case(1, ("history", "search", "nowhere")),
    "a wrong option": Case(2, (*ASK, "--bogus")),
    "stdin left unread": Case(2, (*ASK, "--timeout", "x"), input=b"long " * 100_000),
    "a bad config": Case(3, (*ASK, "hello"), config="model = ["),
    "a refusal": Case(4, (*ASK, "hello"), error_reply(404, "No.")),
    "a failure that may pass": Case(5, (*ASK, "hello"), error_reply(503, "Busy.")),
    "a cut answer": Case(6, (*ASK, "hello"), stream_reply(chunk("Hi"))),
    "a missing session": Case(9, ("history", "show", "nope")),
    "a file that cannot be written": Case(11, (*ASK, "-o", "missing/file", "hello")),
}


@pytest.mark.parametrize("output_format", ["text", "ndjson"])
@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_a_run_in_process_is_what_a_process_gives_for_every_exit_code(
    tmp_path: Path, case: Case, output_format: str
) -> None:
    results = []
    for kind in (Program, InProcess):
        program = kind(tmp_path / kind.__name__)
        program.home.mkdir()
        write_session(program, "w", [turn(1)])
        if case.config:
            (program.home / "config.toml").write_text(case.config)
        with ChatServer(case.reply or answer("no")) as server:
            words = [word.format(url=server.url) for word in case.arguments]
            env = {"PIPECHAT_OUTPUT_FORMAT": output_format}
            result = program.run(*words, input=case.input, env=env, cwd=tmp_path)
        results.append(comparable(result, program, server))
    assert results[0] == results[1]
    assert results[0].status == case.status


def comparable(result: Result, program: Program, server: ChatServer) -> Result:
    """The result without what differs from run to run: the home, the port, ids and times."""

    def same(data: bytes) -> bytes:
        data = data.replace(str(program.home).encode(), b"HOME")
        data = data.replace(f":{server.port}".encode(), b":PORT")
        data = re.sub(rb"[\d.]+ s\b", b"N s", data)
        return re.sub(rb'"(id|time|turn_id|first_token_s|total_s|t)":[^,}]+', rb'"\1":0', data)

    return replace(result, stdout=same(result.stdout), stderr=same(result.stderr))


def state() -> tuple[Any, ...]:
    umask = os.umask(0)
    os.umask(umask)
    handlers = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    return (umask, handlers, dict(os.environ), Path.cwd(), sys.stdout, sys.stderr)


@pytest.mark.in_process
def test_a_run_in_process_leaves_nothing_behind(program: Program, tmp_path: Path) -> None:
    def run() -> None:
        with ChatServer(answer("Hi")) as server:
            ask = ("ask", "--base-url", server.url, "--session", "s", "hello")
            assert program.run(*ask, cwd=tmp_path, env={"PIPECHAT_USAGE": "1"}).status == 0
            assert program.run("ask", "--help").status == 0

    run()  # what is imported once stays, from here on
    before, open_files = state(), set(os.listdir("/proc/self/fd"))
    run()
    assert state() == before
    assert set(os.listdir("/proc/self/fd")) <= open_files


def take_signal() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def take_umask() -> None:
    os.umask(0o022)


def take_stdout() -> None:
    sys.stdout = sys.__stdout__


@pytest.mark.parametrize("take", [take_signal, take_umask, take_stdout])
def test_what_a_run_leaves_behind_fails_its_test_and_is_put_right(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, take: Any
) -> None:
    def run(_env: Environment, _arguments: list[str]) -> int:
        take()
        return 0

    monkeypatch.setattr(main, "run", run)
    monkeypatch.setattr(sys, "stdout", sys.stdout)
    before = state()
    with pytest.raises(AssertionError, match=r"the run (left|changed)"):
        InProcess(tmp_path).run("ask", "hello")
    assert state() == before


@pytest.mark.parametrize("in_process", [False, True])
def test_a_run_without_events_fails_its_test_where_it_must_have_some(
    tmp_path: Path, in_process: bool
) -> None:
    program = InProcess(tmp_path) if in_process else Program(tmp_path)
    wrong = ("ask", "--bogus", "--output-format", "ndjson")
    with pytest.raises(AssertionError, match="no event came"):
        program.run(*wrong)
    assert program.run(*wrong, events=False).status == 2


@pytest.mark.parametrize(
    "planted", [PLANTED_KEY, PLANTED_HEADER, PLANTED_QUERY, quote(PLANTED_QUERY)]
)
@pytest.mark.parametrize("where", ["stdout", "a file", "a file of two names"])
def test_what_was_planted_fails_a_test_that_finds_it(
    tmp_path: Path, planted: str, where: str
) -> None:
    with pytest.raises(AssertionError, match="planted"):
        run_that_leaks(tmp_path, planted, where)


def run_that_leaks(folder: Path, planted: str, where: str) -> None:
    with a_program(folder) as program:
        if where == "stdout":
            program.written.append(f"it is {planted}.".encode())
            return
        leak = program.home / "leak"
        leak.write_text(f"it is {planted}.")
        if where == "a file of two names":
            os.link(leak, program.home / "another")


@pytest.mark.in_process
def test_events_that_are_not_whole_fail_their_check(program: Program) -> None:
    whole = program.run("ask", "--offline", "--output-format", "ndjson", "hello")
    *lines, last = whole.stdout.splitlines(keepends=True)
    check_events(whole)
    for stdout in (b"", b"".join(lines), last * 2, b"".join([*lines, b"{}\n", last])):
        with pytest.raises((AssertionError, jsonschema_rs.ValidationError)):
            check_events(replace(whole, stdout=stdout))


@pytest.mark.in_process
@pytest.mark.parametrize("host", ["example.invalid", "example.com", "a.localhost"])
def test_a_run_in_process_asks_the_network_for_no_name(
    program: Program, monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    asked: list[object] = []
    monkeypatch.setattr("socket.getaddrinfo", lambda name, *_, **__: asked.append(name))
    ask = ("ask", "--base-url", f"https://{host}/v1", "--retries", "0", "hello")
    assert (program.run(*ask).code, asked) == ("unknown_host", [])


@pytest.mark.in_process
def test_a_run_in_process_reaches_this_machine_by_its_name(program: Program) -> None:
    with ChatServer(answer("fine"), also=["localhost"]) as server:
        result = program.run("ask", "--base-url", server.url_at("localhost"), "hello")
    assert (result.status, result.stdout) == (0, b"fine\n")
