"""`pipechat doctor`: each broken set-up is named, in ten seconds, and no secret is shown."""

import errno
import json
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from email.utils import formatdate
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import pytest

from pipechat.commands import doctor, doctor_checks
from pipechat.doctor import time_left
from pipechat.doctor.time_left import TimeLeft
from pipechat.environment import Environment
from pipechat.settings.resolve import Settings
from tests.program import PLANTED_KEY, Program, Result
from tests.pseudo_terminal import AtTerminal
from tests.servers import (
    ChatServer,
    FullBacklog,
    HttpProxy,
    RawServer,
    RefusedPort,
    Reply,
    Request,
    Script,
    Stall,
    answer,
    error_reply,
    http_reply,
    json_reply,
    resegment,
    self_signed,
    write_certificate,
)

pytestmark = pytest.mark.in_process

MODEL = "gpt-5.4-mini"
FORMATS = ("text", "json")


def endpoint(request: Request, *, models: tuple[str, ...] = (MODEL,), off_s: float = 0) -> Reply:
    headers = {"Date": formatdate(time.time() + off_s, usegmt=True)}
    if request.path.endswith("/models"):
        return json_reply(200, {"data": [{"id": name} for name in models]}, headers)
    return answer("OK", headers=headers)


def look(
    program: Program, url: str, *more: str, by_the_clock: object = True, **env: str | None
) -> Result:
    """What doctor says; and whatever hangs as long as it may, it is over in ten seconds.
    `by_the_clock`: once in its own time, too."""
    environ = {"OPENAI_BASE_URL": url, **env}
    with every_wait_used_up() as (waits, handed):
        result = program.run("doctor", *more, env=environ)
    assert result.status in (0, 3)
    if by_the_clock:
        result = program.run("doctor", *more, env=environ)
    assert 0 < sum(waits) < 10
    at_least = 0.1  # for the question, whose limit must not be none
    assert {each for each in handed if each is not None} <= {
        at_least,
        *(each / _QUICKER for each in waits),
    }
    return result


_QUICKER = 50


@contextmanager
def every_wait_used_up() -> Iterator[tuple[list[float], list[float | None]]]:
    """A time in which each check takes all the seconds that it is given, and which passes
    `_QUICKER` times as fast: what was given, and what of it the key's command and the client got.
    """
    now, waits, handed = [0.0], [], []
    clock = SimpleNamespace(monotonic=lambda: now[0])
    seconds = TimeLeft.seconds

    def given(time_left: TimeLeft, most: float) -> float:
        waits.append(seconds(time_left, most))
        now[0] += waits[-1]
        return waits[-1] / _QUICKER

    def noted(call: Callable[..., Any]) -> Callable[..., Any]:
        def called(env: Environment, settings: Settings, *more: Any, **others: Any) -> Any:
            handed.append(settings.timeout_s)
            return call(env, settings, *more, **others)

        return called

    with ExitStack() as stack:
        stack.enter_context(patch.object(TimeLeft, "seconds", given))
        for module in (doctor, time_left):
            stack.enter_context(patch.object(module, "time", clock))
        for name in ("with_key", "make_calls", "make_client"):
            call = noted(getattr(doctor_checks, name))
            stack.enter_context(patch.object(doctor_checks, name, call))
        yield waits, handed


def table(result: Result) -> dict[str, tuple[str, str]]:
    """Of each check, how it went and what was said."""
    if result.stdout.startswith(b"{"):
        told = json.loads(result.stdout)
        verdicts = {each["verdict"] for each in told["checks"]}
        assert told["verdict"] == next(v for v in ("fail", "warn", "ok") if v in verdicts)
        rows = [(e["verdict"], e["check"], e["message"], e["hint"]) for e in told["checks"]]
    else:
        rows = [_cells(line) for line in result.stdout.decode().splitlines()]
    assert all(hint for verdict, _, _, hint in rows if verdict != "ok"), "nothing to try"
    assert (result.status == 3) == any(row[0] == "fail" for row in rows)
    assert result.status in (0, 3)
    return {check: (verdict, f"{message} {hint}") for verdict, check, message, hint in rows}


def _cells(line: str) -> tuple[str, str, str, str]:
    verdict, check, message, hint = line.split("\t")
    return verdict, check, message, hint


def of_server(program: Program, script: Script, *more: str, **env: str | None) -> dict[str, Any]:
    with ChatServer(script) as server:
        return table(look(program, server.url, *more, **env))


def fails(checks: dict[str, tuple[str, str]]) -> set[str]:
    return {name for name, (verdict, _) in checks.items() if verdict == "fail"}


@pytest.mark.parametrize("output_format", FORMATS)
def test_a_set_up_that_is_well_is_told_line_by_line(program: Program, output_format: str) -> None:
    checks = of_server(program, endpoint, "--ask", "--output-format", output_format)
    assert {name: verdict for name, (verdict, _) in checks.items()} == dict.fromkeys(
        ["settings", "key", "proxy", "dns", "tcp", "http", "model", "ask", "clock", "folder",
         "mode", "filesystem", "space", "versions"], "ok",
    )  # fmt: skip
    assert "OPENAI_API_KEY" in checks["key"][1]
    assert "openai" in checks["versions"][1]


def test_without_ask_no_question_is_asked_and_nothing_is_left_in_the_folder(
    program: Program,
) -> None:
    before = sorted(program.home.rglob("*"))
    with ChatServer(endpoint) as server:
        look(program, server.url)
        assert {request.path for request in server.requests} == {"/v1/models"}
    assert sorted(program.home.rglob("*")) == before


@pytest.mark.parametrize("output_format", FORMATS)
class TestABrokenSetUpIsNamed:
    def test_a_name_that_does_not_resolve(self, program: Program, output_format: str) -> None:
        url = "https://no-such-host.invalid/v1"
        checks = table(look(program, url, "--output-format", output_format))
        assert fails(checks) == {"dns"}
        assert "no-such-host.invalid does not resolve" in checks["dns"][1]

    def test_a_port_that_refuses(self, program: Program, output_format: str) -> None:
        with RefusedPort() as port:
            checks = table(look(program, port.url, "--output-format", output_format))
        assert fails(checks) == {"tcp"}
        assert "refused" in checks["tcp"][1]

    def test_a_certificate_that_expired(
        self, program: Program, tmp_path: Path, output_format: str
    ) -> None:
        trusted = write_certificate(tmp_path / "ca.pem", expired=True)
        with ChatServer(endpoint, tls=self_signed(expired=True)) as server:
            more = ("--output-format", output_format)
            checks = table(look(program, server.url, *more, SSL_CERT_FILE=str(trusted)))
        assert fails(checks) == {"tls"}
        assert "has expired" in checks["tls"][1]

    def test_an_authority_that_is_not_trusted(self, program: Program, output_format: str) -> None:
        with ChatServer(endpoint, tls=self_signed()) as server:
            checks = table(look(program, server.url, "--output-format", output_format))
        assert fails(checks) == {"tls"}
        assert "authority that is not trusted" in checks["tls"][1]
        assert "SSL_CERT_FILE" in checks["tls"][1]

    def test_a_dead_proxy(self, program: Program, output_format: str) -> None:
        with RefusedPort() as port:
            env = {"HTTPS_PROXY": f"http://me:{PLANTED_KEY}@127.0.0.1:{port.port}"}
            url = "https://far.invalid/v1"
            checks = table(look(program, url, "--output-format", output_format, **env))
        assert fails(checks) == {"tcp"}
        assert f"the proxy http://127.0.0.1:{port.port}" in checks["tcp"][1]
        assert "HTTPS_PROXY" in checks["proxy"][1]

    def test_a_key_that_is_refused(self, program: Program, output_format: str) -> None:
        refusal = error_reply(401, f"Incorrect API key: {PLANTED_KEY}.")
        checks = of_server(program, refusal, "--output-format", output_format)
        assert fails(checks) == {"http"}
        assert "unauthorized" in checks["http"][1]
        assert "OPENAI_API_KEY" in checks["http"][1]

    def test_a_model_that_is_missing(self, program: Program, output_format: str) -> None:
        more = ("-m", "gpt-5.4-mimi", "--output-format", output_format)
        checks = of_server(program, endpoint, *more)
        assert fails(checks) == {"model"}
        assert "gpt-5.4-mimi (--model) is not among" in checks["model"][1]
        assert f"Did you mean '{MODEL}'?" in checks["model"][1]

    def test_a_folder_that_cannot_be_written(
        self, program: Program, output_format: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        real = os.open

        def read_only(path: Any, *more: Any, **options: Any) -> int:
            if ".doctor." in os.fsdecode(path):
                raise OSError(errno.EROFS, "Read-only file system")
            return real(path, *more, **options)

        monkeypatch.setattr(os, "open", read_only)  # because permissions do not stop root
        checks = of_server(program, endpoint, "--output-format", output_format)
        assert fails(checks) == {"folder"}
        assert "read-only" in checks["folder"][1]

    def test_a_disk_that_is_full(
        self, program: Program, output_format: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        real = os.statvfs

        def full(path: Any) -> os.statvfs_result:
            block, unit, blocks, *others = real(path)
            return os.statvfs_result((block, unit, blocks, 0, 0, *others[2:]))

        monkeypatch.setattr(os, "statvfs", full)
        checks = of_server(program, endpoint, "--output-format", output_format)
        assert fails(checks) == {"space"}
        assert "the disk is full" in checks["space"][1]

    def test_a_clock_that_is_off_by_an_hour(self, program: Program, output_format: str) -> None:
        def late(request: Request) -> Reply:
            return endpoint(request, off_s=-3600)

        checks = of_server(program, late, "--output-format", output_format)
        assert fails(checks) == {"clock"}
        assert "1.0 h ahead" in checks["clock"][1]

    def test_no_key_where_one_is_needed(self, program: Program, output_format: str) -> None:
        result = program.run(
            "doctor",
            "--output-format",
            output_format,
            env={"OPENAI_API_KEY": None, "OPENAI_BASE_URL": None},
        )
        assert "no_key" in table(result)["key"][1]

    def test_a_config_that_is_no_toml(self, program: Program, output_format: str) -> None:
        (program.home / "config.toml").write_text("model = gpt\n")
        checks = table(program.run("doctor", "--output-format", output_format))
        assert fails(checks) == {"settings"}
        assert "config.toml" in checks["settings"][1]
        assert "config show" not in checks["settings"][1]  # which would say the same again
        assert checks["folder"][0] == "ok"

    @pytest.mark.parametrize("way", ["tls", "http"])
    def test_a_server_that_says_nothing(
        self, program: Program, output_format: str, way: str
    ) -> None:
        with RawServer(Stall()) as server:
            url = server.https_url if way == "tls" else server.url
            both = way == "http" and output_format == "text"
            more = ("--output-format", output_format)
            checks = table(look(program, url, *more, by_the_clock=both))
        assert fails(checks) - {"folder"} == {way}  # a fiftieth of its time may be short for it
        assert "in time" in checks[way][1]
        assert not both or checks["folder"][0] == "ok"


def test_a_server_that_takes_no_connection_is_named_in_time(program: Program) -> None:
    with FullBacklog() as server:
        checks = table(look(program, server.url))
    assert fails(checks) == {"tcp"}
    assert checks["folder"][0] == "ok"


def test_a_certificate_that_is_trusted_is_told_with_its_issuer_and_its_days(
    program: Program, tmp_path: Path
) -> None:
    trusted = write_certificate(tmp_path / "ca.pem")

    def at_once(request: Request) -> Reply:  # over TLS the server may wait between two sends
        return resegment(endpoint(request), [1 << 20])

    with ChatServer(at_once, tls=self_signed()) as server:
        checks = table(look(program, server.url, SSL_CERT_FILE=str(trusted)))
    assert fails(checks) == set(), checks
    assert "a certificate of localhost, good for" in checks["tls"][1]


def test_what_goes_by_way_of_a_proxy_is_looked_at_there(program: Program) -> None:
    with (
        ChatServer(endpoint) as server,
        HttpProxy(names={"far.invalid": ("127.0.0.1", server.port)}) as proxy,
    ):
        url = f"http://far.invalid:{server.port}/v1"
        more = ("--insecure-http", "--proxy", proxy.url)
        checks = table(look(program, url, *more))
    assert fails(checks) == set()
    assert "proxy" in checks["tcp"][1]


@pytest.mark.parametrize("reply", [error_reply(404, "No such path."), http_reply(405)])
def test_an_endpoint_that_lists_nothing_but_answers_is_warned_of(
    program: Program, reply: Reply
) -> None:
    def script(request: Request) -> Reply:
        return reply if request.path.endswith("/models") else endpoint(request)

    assert "http" in fails(of_server(program, script))
    checks = of_server(program, script, "--ask")
    assert (fails(checks), checks["http"][0], checks["ask"][0]) == (set(), "warn", "ok")


def test_a_question_that_is_refused_fails(program: Program) -> None:
    def script(request: Request) -> Reply:
        is_list = request.path.endswith("/models")
        return endpoint(request) if is_list else error_reply(400, "No.")

    assert fails(of_server(program, script, "--ask")) == {"ask"}


@pytest.mark.parametrize("where", [".in-flight/trip/", ".trip."], ids=["now", "formerly"])
def test_torn_lines_orphans_and_open_modes_are_warned_of(program: Program, where: str) -> None:
    asked = program.run("ask", "--offline", "-q", "--session", "trip", "hi")
    assert asked.status == 0
    sessions = program.home / "sessions"
    path = sessions / "trip.jsonl"
    path.write_bytes(path.read_bytes() + b'{"id": "torn')
    sessions.chmod(0o755)
    spool = sessions / f"{where}019a0000-0000-7000-8000-000000000000.part"
    spool.parent.mkdir(exist_ok=True)
    spool.write_text("{}\n")
    checks = of_server(program, endpoint)
    assert fails(checks) == set()
    assert {name for name, (verdict, _) in checks.items() if verdict == "warn"} == {
        "mode", "sessions", "spools",
    }  # fmt: skip
    assert "pipechat history repair trip" in checks["sessions"][1]
    assert spool.exists()


@pytest.mark.parametrize("name", ["PIPECHAT_OFFLINE", "PIPECHAT_REPLAY"])
def test_where_no_server_is_asked_none_is_looked_at(program: Program, name: str) -> None:
    with ChatServer(endpoint) as server:
        checks = table(look(program, server.url, **{name: "1"}))
        assert server.requests == []
    assert checks["endpoint"][0] == "warn"
    assert name in checks["endpoint"][1]


def test_a_key_command_that_hangs_is_given_up(program: Program) -> None:
    path = program.home / "config.toml"
    path.write_text('api_key_command = "sleep 30"\n')
    path.chmod(0o600)
    checks = of_server(program, endpoint, OPENAI_API_KEY=None)
    assert fails(checks) == {"key"}
    assert checks["tcp"][0] == "ok"


def test_a_format_that_there_is_not_is_wrong_usage(program: Program) -> None:
    result = program.run("doctor", "--output-format", "ndjson")
    assert (result.status, result.code) == (2, "bad_option")


@pytest.mark.parametrize("output_format", FORMATS)
class TestOfAGatewayItTells:
    def test_a_header_that_stands_for_the_key_and_the_authority_of_cacert(
        self, program: Program, tmp_path: Path, output_format: str
    ) -> None:
        ca = write_certificate(tmp_path / "ca.pem")
        more = ("--cacert", str(ca), "-H", "Authorization: Bearer planted-header")
        with ChatServer(endpoint, tls=self_signed()) as server:
            result = look(program, server.url, *more, "--output-format", output_format)
            headers = server.requests[-1].headers
        checks = table(result)
        assert (result.status, checks["tls"][0], checks["http"][0]) == (0, "ok", "ok")
        assert checks["key"] == ("ok", "a header's, from --header ")  # and no hint
        assert headers["authorization"] == "Bearer planted-header"
        assert b"planted-header" not in result.stdout

    def test_a_file_of_authorities_that_is_not_there(
        self, program: Program, output_format: str
    ) -> None:
        with ChatServer(endpoint, tls=self_signed()) as server:
            more = ("--cacert", "/no/such.pem", "--output-format", output_format)
            result = look(program, server.url, *more)
        checks = table(result)
        assert (result.status, fails(checks)) == (3, {"tls"})
        assert "--cacert: /no/such.pem" in checks["tls"][1]

    def test_a_socket_that_is_there_and_one_that_is_not(
        self, program: Program, output_format: str
    ) -> None:
        with tempfile.TemporaryDirectory(prefix="pc") as folder:
            path = f"{folder}/s.sock"
            with ChatServer(endpoint, socket_path=path) as server:
                result = look(program, server.url, "--output-format", output_format)
            checks = table(result)
            assert (result.status, checks["tcp"][0], checks["http"][0]) == (0, "ok", "ok")
            assert "dns" not in checks
            gone = look(program, f"unix://{folder}/gone", "--output-format", output_format)
        checks = table(gone)
        assert (gone.status, fails(checks)) == (3, {"tcp"})
        assert f"{folder}/gone" in checks["tcp"][1]


@pytest.mark.in_process(False)
@pytest.mark.parametrize(("columns", "indent"), [(80, 18), (40, 6)])
def test_on_a_terminal_no_word_is_cut_and_verdicts_stand_alone_in_front(
    program: Program, columns: int, indent: int
) -> None:
    with RefusedPort() as port:
        ask = ("doctor", "--base-url", port.url)
        with AtTerminal(program, *ask, env={}, columns=columns) as terminal:
            terminal.leave()
    lines = terminal.screen.decode().splitlines()
    assert all(line.startswith((" " * indent, "ok    ", "warn  ", "fail  ")) for line in lines)
    too_wide = [line[indent:] for line in lines if len(line) > columns]
    assert [text for text in too_wide if " " in text] == []  # a path stays whole, to be copied
    said = " ".join(" ".join(lines).split())
    assert f"{port.url[7:-3]} refused the connection. Is it running? Check the address" in said


@pytest.mark.parametrize("comes", ["in time", "too late", "not at all"])
def test_what_a_check_opened_is_used_or_closed_whenever_it_comes(comes: str) -> None:
    may_come, is_closed = threading.Event(), threading.Event()

    def call() -> str:
        assert comes == "in time" or may_come.wait(30)
        if comes == "not at all":
            raise ConnectionRefusedError
        return "opened"

    left = TimeLeft(time.monotonic() + (30 if comes == "in time" else 0))
    if comes == "in time":
        assert left.bounded(call, 30, lambda _: is_closed.set()) == "opened"
    else:
        with pytest.raises(TimeoutError):
            left.bounded(call, 30, lambda _: is_closed.set())
    may_come.set()
    for thread in threading.enumerate():
        if thread.name == "check":
            thread.join(30)
    assert is_closed.is_set() == (comes == "too late")
