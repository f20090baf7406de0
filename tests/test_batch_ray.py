"""`batch run --engine ray`: what the run and its bridge do, whatever Ray does.

Ray itself is in `test_ray_storm.py`.
"""

import json
import re
import shlex
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.program import PLANTED_HEADER, PLANTED_KEY, Program, Result
from tests.servers import ChatServer, Request, first_tries, mirror

pytestmark = [pytest.mark.in_process, pytest.mark.counted]


@pytest.fixture
def bridge(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bridge that needs no Ray."""
    monkeypatch.setattr("pipechat.batch.ray_worker._BRIDGE", "tests.fake_bridge")
    monkeypatch.setattr("pipechat.commands.batch_engine.find_spec", lambda _name: True)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out.jsonl"


def items(count: int) -> bytes:
    rows = ({"id": f"i{n}", "question": f"question {n}"} for n in range(count))
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def run(
    program: Program, server: ChatServer, count: int, *more: str | Path, **env: str | None
) -> Result:
    return program.run(
        "batch", "run", "--engine", "ray", "--base-url", server.url, *more,
        input=items(count), env=env, events=False,
    )  # fmt: skip


def asked(server: ChatServer) -> Counter[str]:
    return Counter(request.question for request in server.requests)


def statuses(out: Path) -> Counter[str]:
    records = [json.loads(line) for line in out.read_bytes().splitlines()]
    assert len({record["item"] for record in records if record["status"] == "complete"}) == len(
        [record for record in records if record["status"] == "complete"]
    )
    return Counter(record["status"] for record in records)


@pytest.mark.usefixtures("bridge")
def test_every_item_is_asked_once_with_the_key_and_the_account_of_the_run(
    program: Program, out: Path
) -> None:
    with ChatServer(mirror()) as server:
        result = run(
            program, server, 40, "-o", out, OPENAI_ORG_ID="org-mine", OPENAI_BASE_URL=server.url
        )
        assert set(asked(server).values()) == {1}
        assert {
            (request.headers["authorization"], request.headers["openai-organization"])
            for request in server.requests
        } == {(f"Bearer {PLANTED_KEY}", "org-mine")}
    assert (result.status, result.stdout) == (0, b"")
    assert statuses(out) == {"complete": 40}


@pytest.mark.usefixtures("bridge")
@pytest.mark.parametrize("form", [(), ("--events",), ("--ordered",)])
def test_what_ray_says_reaches_stderr_with_v_alone_and_stdout_never(
    program: Program, form: tuple[str, ...]
) -> None:
    says = f"a node died \x1b[33m {PLANTED_KEY}"
    with ChatServer(mirror()) as server:
        still = run(program, server, 3, *form, RAY_SAYS=says)
        told = run(program, server, 3, *form, "-v", RAY_SAYS=says)
    assert (still.status, told.status) == (0, 0)
    assert b"a node died" not in still.stdout + told.stdout + still.stderr
    assert len([json.loads(line) for line in told.stdout.splitlines()]) >= 3
    assert told.stderr.count(b"pipechat: a node died") == 2
    assert b"\x1b" not in told.stderr


@pytest.mark.usefixtures("bridge")
def test_no_process_of_the_cluster_has_the_key_in_its_environment_or_arguments(
    program: Program, tmp_path: Path
) -> None:
    known = tmp_path / "known.json"  # the fixture looks for the key in it
    more = {
        "OPENAI_ORG_ID": "org-mine",
        "https_proxy": "http://me:secret@127.0.0.1:1",
        "PIPECHAT_API_KEY": PLANTED_KEY,
        "AZURE_OPENAI_API_KEY": f"azure-{PLANTED_KEY}",
        "PIPECHAT_HEADER": f"X-Gateway: {PLANTED_HEADER}",
    }
    with ChatServer(mirror()) as server:
        assert run(program, server, 1, RAY_WRITES=str(known), **more).status == 0
        assert server.requests[0].headers["x-gateway"] == PLANTED_HEADER
        assert server.requests[0].headers["authorization"] == f"Bearer {PLANTED_KEY}"
    told = json.loads(known.read_text())
    assert [name for name in told["environ"] if name.startswith("OPENAI_")] == []
    assert "secret" not in known.read_text()
    assert told["environ"]["RAY_USAGE_STATS_ENABLED"] == "0"
    assert told["folder"] == "/"


@pytest.mark.usefixtures("bridge")
def test_the_items_of_a_lost_actor_are_asked_elsewhere(program: Program, out: Path) -> None:
    with ChatServer(mirror()) as server:
        result = run(program, server, 60, "-o", out, RAY_LOSES="1")
        assert set(asked(server)) == {f"question {n}" for n in range(60)}
    assert result.status == 0
    assert statuses(out) == {"complete": 60}


@pytest.mark.usefixtures("bridge")
def test_where_ray_ends_the_run_ends_with_5_and_the_next_one_goes_on(
    program: Program, out: Path
) -> None:
    with ChatServer(mirror()) as server:
        first = run(program, server, 60, "-o", out, "-j", "4", RAY_ENDS_AFTER="5")
        assert (first.status, first.code) == (5, "ray_failed")
        had = statuses(out)["complete"]
        assert 0 < had < 60
        before = len(server.requests)
        second = run(program, server, 60, "-o", out)
        assert len(server.requests) - before == 60 - had
    assert second.status == 0
    assert statuses(out)["complete"] == 60


@pytest.mark.usefixtures("bridge")
@pytest.mark.parametrize("form", [(), ("--events",), ("-o", "out.jsonl")])
def test_without_a_cluster_nothing_is_sent(
    program: Program, form: tuple[str, ...], tmp_path: Path
) -> None:
    with ChatServer(mirror()) as server:
        result = run(
            program, server, 3, "--ray-address", "nobody:1",
            *(str(tmp_path / word) if "." in word else word for word in form),
        )  # fmt: skip
        assert server.requests == []
    assert (result.status, result.code, result.stdout) == (5, "ray_failed", b"")


@pytest.mark.usefixtures("bridge")
def test_a_bug_beside_ray_is_exit_1_and_v_shows_where(program: Program) -> None:
    with ChatServer(mirror()) as server:
        still = run(program, server, 1, "--ray-address", "bug:1")
        told = run(program, server, 1, "--ray-address", "bug:1", "-v")
    assert (still.status, still.code, told.status) == (1, "bug", 1)
    assert b"KeyError(" not in still.stderr + told.stdout
    assert b'KeyError("of Ray\'s")' in told.stderr


@pytest.mark.usefixtures("bridge")
def test_a_line_of_rays_that_does_not_end_stops_nothing(program: Program) -> None:
    with ChatServer(mirror()) as server:
        result = run(program, server, 3, "-v", RAY_SAYS="x" * 100_000)
    assert (result.status, len(result.stdout.splitlines())) == (0, 3)


@pytest.mark.usefixtures("bridge")
def test_events_come_when_the_answer_has_and_retries_are_told(program: Program) -> None:
    with ChatServer(mirror(fault=first_tries("500"))) as server:
        result = run(program, server, 3, "--events", "--stream")
    assert result.status == 0
    for item in ("i0", "i1", "i2"):
        own = [event for event in result.events if event["item"] == item]
        kinds = [event["type"] for event in own]
        assert kinds[:2] == ["start", "retry"]
        assert kinds[-1] == "end"
        texts = [event["text"] for event in own if event["type"] == "chunk"]
        assert "".join(texts) == own[-1]["answer"] != ""


@pytest.mark.usefixtures("bridge")
def test_what_an_answer_has_to_be_is_judged_where_it_is_asked(program: Program, out: Path) -> None:
    def text(request: Request) -> str:
        return "{}" if request.question == "question 1" else '{"n": 1}'

    with ChatServer(mirror(text=text)) as server:
        result = run(program, server, 3, "-o", out, "--schema", "n int")
    assert result.status == 10
    records = [json.loads(line) for line in out.read_bytes().splitlines()]
    codes = {record["item"]: (record["error"] or {}).get("code") for record in records}
    assert codes == {"i0": None, "i1": "schema_mismatch", "i2": None}


@pytest.mark.usefixtures("bridge")
def test_the_commands_of_the_readme_run(program: Program, tmp_path: Path) -> None:
    readme = (Path(__file__).parent.parent / "README.md").read_text()
    commands = re.findall(r"^\$ pipechat (.*--engine ray.*)$", readme, re.MULTILINE)
    assert len(commands) == 2
    (tmp_path / "questions.ndjson").write_bytes(items(5))
    for command in commands:
        (tmp_path / "answers.jsonl").unlink(missing_ok=True)
        with ChatServer(mirror()) as server:
            env = {"PIPECHAT_BASE_URL": server.url}
            result = program.run(*shlex.split(command), env=env, cwd=tmp_path, events=False)
        assert result.status == 0
        assert statuses(tmp_path / "answers.jsonl") == {"complete": 5}


REFUSED: list[tuple[tuple[str, ...], dict[str, str], str]] = [
    (("--ray-address", "auto"), {}, "--ray-address needs --engine ray"),
    (("--engine", "ray", "--workers", "2"), {}, "--workers does not go with --engine ray"),
    (("--engine", "ray", "--record", "x"), {}, "--record does not go with --engine ray"),
    (("--engine", "ray"), {"PIPECHAT_REPLAY": "x"}, "PIPECHAT_REPLAY does not go with --engine"),
    (("--engine", "ray", "--ray-address", "ray://h:1"), {}, "'ray://h:1' is not HOST:PORT or auto"),
    (("--engine", "ray", "--ray-address", ""), {}, "'' is not HOST:PORT or auto"),
    (("--engine", "spark"), {}, "--engine: 'spark' is not one of local, ray"),
]


@pytest.mark.parametrize(("flags", "env", "says"), REFUSED)
@pytest.mark.parametrize("form", [(), ("--events",), ("-o", "out", "--output-format", "json")])
def test_options_that_do_not_go_together_are_exit_2(
    program: Program,
    flags: tuple[str, ...],
    env: dict[str, Any],
    says: str,
    form: tuple[str, ...],
    tmp_path: Path,
) -> None:
    result = program.run(
        "batch", "run", *flags, *form, input=items(1), env=env, cwd=tmp_path, events=False
    )
    assert (result.status, result.code, result.stdout) == (2, "bad_option", b"")
    assert says in result.stderr.decode()


@pytest.mark.parametrize("form", [(), ("--events",), ("-o", "out", "--output-format", "json")])
@pytest.mark.parametrize("by", ["flag", "variable", "config"])
def test_without_the_extra_it_is_exit_2_and_the_line_that_installs_it(
    program: Program,
    form: tuple[str, ...],
    by: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("pipechat.commands.batch_engine.find_spec", lambda _name: None)
    if by == "config":
        (program.home / "config.toml").write_text('engine = "ray"\n')
    flags = ("--engine", "ray") if by == "flag" else ()
    env = {"PIPECHAT_ENGINE": "ray"} if by == "variable" else {}
    result = program.run(
        "batch", "run", *flags, *form, input=items(1), env=env, cwd=tmp_path, events=False
    )
    assert (result.status, result.code, result.stdout) == (2, "missing_extra", b"")
    assert result.stderr.decode().endswith(" install 'ray>=2.50'.\n")


def test_an_address_in_the_config_file_waits_for_the_engine(program: Program) -> None:
    (program.home / "config.toml").write_text('ray_address = "10.0.0.1:6379"\n')
    with ChatServer(mirror()) as server:
        result = program.run("batch", "run", "--base-url", server.url, input=items(2), events=False)
    assert result.status == 0
