"""What is measured: groups of parties that take turns, and the rows made of their medians.

The rows and their targets are those of issue 4; some groups hold parties beside them, to show
where a number comes from.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from benching import answers, sessions
from benching.home import Home
from benching.measuring import run_once
from benching.parties import (
    LIVE,
    LIVE_BY_BLOCKS,
    QUESTION,
    Party,
    SessionOnDisk,
    anything,
    curl,
    has_lines,
    holds,
    is_text,
    llm,
    pipeline,
    write_questions,
)

_TOOLS = ("curl", "jq", "sed", "grep", "stdbuf")


@dataclass(frozen=True)
class Sizes:
    """How much of everything. `turns` of the long session, `chunks` of the long answer."""

    turns: int = 1_000_000
    chunks: int = 20_000
    paced: int = 1_000
    items: int = 4_000
    runs: int = 15
    long_runs: int = 5


@dataclass(frozen=True)
class Group:
    """Parties that take turns. `set_up` runs once before; it may raise NotMeasuredError."""

    name: str
    about: str
    parties: tuple[Party, ...]
    set_up: Callable[[], None] = lambda: None
    long: bool = False
    stamped: bool = False


@dataclass(frozen=True)
class Row:
    """`of` compared with `to`, by wall time unless said: quotients of medians, for `p99` the
    difference in ms. Of parties with several items, one of them. `at_most` is the target, where
    there is one."""

    title: str
    group: str
    of: str
    to: str
    at_most: float | None = None
    by: Literal["wall", "cpu", "peak", "p99"] = "wall"


ROWS = (
    Row("ask, 20 chunks: pipechat / llm", "ask-short", "pipechat", "llm", 0.45),
    Row("ask, 20 chunks: pipechat / plain SDK", "ask-short", "pipechat", "plain SDK", 0.55),
    Row("ask, long: pipechat / llm", "ask-long", "pipechat", "llm", 0.20),
    Row("ask, long: pipechat / plain SDK", "ask-long", "pipechat", "plain SDK"),
    Row("ask, long: pipechat / curl|sed|jq", "ask-long", "pipechat", "curl|sed|jq", 0.60),
    Row("ask, long: pipechat / curl|stdbuf sed|jq", "ask-long", "pipechat", "curl|stdbuf sed|jq"),
    Row("ask, long: ndjson / text", "ask-long", "pipechat ndjson", "pipechat", 1.6),
    Row("history show / llm logs", "start", "history show --last 3", "llm logs -n 3", 0.20),
    Row(
        "history show / import typer, orjson",
        "start",
        "history show --last 3",
        "import typer, orjson",
        1.3,
    ),
    Row("--version / import typer", "start", "--version", "import typer"),
    Row("--help / import typer", "start", "--help", "import typer"),
    Row("ask, long session / one turn", "session", "ask, long", "ask, one turn", 1.05),
    Row("the same, peak memory", "session", "ask, long", "ask, one turn", 1.05, "peak"),
    Row("ask, long session / 20 turns", "session", "ask, long", "ask, 20 turns"),
    Row("history show, long session / 20 turns", "session", "show, long", "show, 20 turns"),
    Row("history search / grep -c", "search", "history search", "grep -c", 3),
    Row("history search -i / grep -ci", "search", "history search -i", "grep -ci", 4),
    Row("history search -E / grep -cE", "search", "history search -E", "grep -cE", 10),
    Row("history search / jq", "search", "history search", "jq", 0.15),
    Row("batch, a request: one process / SDK", "batch", "-j 64", "asyncio SDK", 0.40),
    Row("the same, CPU", "batch", "-j 64", "asyncio SDK", 0.40, "cpu"),
    Row("batch, a request: two processes / SDK", "batch", "two processes", "asyncio SDK", 0.25),
    Row("batch, a request: one process / bare aiohttp", "batch", "-j 64", "bare aiohttp"),
    Row(
        "batch, a request: two processes / xargs llm", "batch", "two processes", "xargs llm", 1 / 60
    ),
    Row("batch, nothing left to ask / wc, jq", "resume", "all complete", "wc, jq", 8),
    Row("latency p99, pipechat − curl -N (ms)", "latency", "pipechat", "curl -N", 1, "p99"),
)


def make_groups(home: Home, sizes: Sizes) -> list[Group]:
    """All groups, in the order in which they are measured."""
    return [
        _start(home),
        _ask(home, "ask-short", 20),
        _ask(home, "ask-long", sizes.chunks),
        _session(home, sizes.turns),
        _search(home, sizes.turns),
        _latency(home, sizes.paced),
        _batch(home, sizes.items),
        _resume(home, sizes.turns),
    ]


def set_up_llm(home: Home, sizes: Sizes) -> None:
    """Point llm to the server as its users do, and let it log a few answers."""
    folder = home.folder / "llm"
    folder.mkdir()
    models = (f"bench-{20}", f"bench-{sizes.chunks}", f"paced-{sizes.paced}")
    lines = [
        f"- model_id: {model}\n  model_name: {model}\n  api_base: http://127.0.0.1:{home.port}/v1\n"
        for model in dict.fromkeys(models)
    ]
    (folder / "extra-openai-models.yaml").write_text("".join(lines))
    for _ in range(5):
        run_once(llm(home, 20), home.environ(), limit_s=60)


def missing_tools(home: Home) -> list[str]:
    """Of the system's tools that rows need, those that are not there."""
    return [name for name in _TOOLS if shutil.which(name, path=home.environ()["PATH"]) is None]


def _start(home: Home) -> Group:
    python = str(home.bin / "python")
    pipechat = str(home.bin / "pipechat")
    show = SessionOnDisk(home, "show", 20)
    parties = (
        Party("python -c pass", (python, "-c", "pass"), anything),
        Party("import typer", (python, "-c", "import typer"), anything),
        Party("import typer, orjson", (python, "-c", "import typer, orjson"), anything),
        Party("--version", (pipechat, "--version"), holds(b"pipechat ")),
        Party("--help", (pipechat, "--help"), holds(b"--help")),
        Party("ask --offline", (pipechat, "ask", "--offline", QUESTION), holds(b"pipe")),
        Party("history show --last 3", show.shown(3), holds(b"A pipe joins")),
        Party("llm --version", (str(home.bin / "llm"), "--version"), holds(b"llm")),
        Party("llm logs -n 3", (str(home.bin / "llm"), "logs", "-n", "3"), holds(b"answer")),
    )
    about = "starting, and what a command costs that asks no server"
    return Group("start", about, parties, set_up=show.write)


def _ask(home: Home, name: str, chunks: int) -> Group:
    session = SessionOnDisk(home, name, 1)
    sdk = str(Path(__file__).parent / "plain_sdk.py")
    is_answer = is_text("".join(answers.texts(chunks)))
    plain = (str(home.bin / "python"), sdk, f"bench-{chunks}", QUESTION)
    parties = [
        Party("pipechat", session.asked(chunks), is_answer, session.restore),
        Party("llm", llm(home, chunks), is_answer),
        Party("plain SDK", plain, is_answer),
        Party("curl alone (the server)", curl(home, f"bench-{chunks}"), holds(b"[DONE]")),
    ]
    if name == "ask-long":
        ndjson = session.asked(chunks, "--output-format", "ndjson")
        parties += [
            Party("pipechat ndjson", ndjson, has_lines(chunks + 2), session.restore),
            Party("curl|sed|jq", pipeline(home, chunks, LIVE), is_answer),
            Party("curl|stdbuf sed|jq", pipeline(home, chunks, LIVE_BY_BLOCKS), is_answer),
        ]
    about = f"one question, answered in {chunks} chunks as fast as the reader takes them"
    return Group(name, about, tuple(parties), session.write)


def _session(home: Home, turns: int) -> Group:
    one, twenty = SessionOnDisk(home, "one", 1), SessionOnDisk(home, "twenty", 20)
    long = SessionOnDisk(home, "long", turns)
    is_answer = is_text("".join(answers.texts(20)))
    parties = (
        Party("ask, one turn", one.asked(20), is_answer, one.restore),
        Party("ask, 20 turns", twenty.asked(20), is_answer, twenty.restore),
        Party("ask, long", long.asked(20), is_answer, long.restore),
        Party("show, 20 turns", twenty.shown(3), holds(b"A pipe joins"), twenty.restore),
        Party("show, long", long.shown(3), holds(b"A pipe joins"), long.restore),
    )

    def set_up() -> None:
        for session in (one, twenty, long):
            session.write()

    return Group("session", f"sessions of 1, 20 and {turns} turns", parties, set_up)


def _search(home: Home, turns: int) -> Group:
    long = SessionOnDisk(home, "long", turns)
    needle, path = sessions.NEEDLE, str(long.path)
    found = sessions.needles(turns)
    query = f'select(.question + .answer | contains("{needle}")) | .id'
    grep, either = home.tool("grep"), f"{needle[:3]}({needle[3:]}|luft)|zwickm.hle"

    def search(*arguments: str) -> tuple[str, ...]:
        return (str(home.bin / "pipechat"), "history", "search", *arguments, "--session", "long")

    parties = (
        Party("history search", search(needle), has_lines(found)),
        Party("grep -c", (grep, "-c", needle, path), is_text(str(found))),
        Party("history search -i", search("-i", needle.upper()), has_lines(found)),
        Party("grep -ci", (grep, "-ci", needle.upper(), path), is_text(str(found))),
        Party("history search -E", search("-E", either), has_lines(found)),
        Party("grep -cE", (grep, "-cE", either, path), is_text(str(found))),
        Party("jq", (home.tool("jq"), "-r", query, path), has_lines(found)),
    )
    about = f"a word that {found} of {turns} turns hold"
    return Group("search", about, parties, long.write, long=True)


def _latency(home: Home, chunks: int) -> Group:
    session = SessionOnDisk(home, "latency", 1)
    sdk = str(Path(__file__).parent / "plain_sdk.py")
    model = f"paced-{chunks}"
    ask = (str(home.bin / "pipechat"), "ask", "--session", "latency", "-m", model, QUESTION)
    parties = (
        Party("pipechat", ask, anything, session.restore),
        Party("curl -N", curl(home, model), anything),
        Party("plain SDK", (str(home.bin / "python"), sdk, model, QUESTION), anything),
        Party("llm", (str(home.bin / "llm"), "-m", model, QUESTION), anything),
    )
    about = f"{chunks} chunks, one every {answers.PACE_S * 1000:g} ms: from the server to a reader"
    return Group("latency", about, parties, session.write, long=True, stamped=True)


def _batch(home: Home, count: int) -> Group:
    scripts = Path(__file__).parent
    python, out = str(home.bin / "python"), home.folder / "out.jsonl"
    source = home.folder / "questions.ndjson"
    few = 32
    pipechat = str(home.bin / "pipechat")
    how = ("-q", "-m", "bench-20", "-j", "64", "--fresh")
    run = (pipechat, "batch", "run", str(source), "-o", str(out), *how)
    script = ("bench-20", str(source), "64", str(out))
    asks = f"seq {few} | xargs -P 16 -I N {home.bin}/llm --no-log -m bench-20 'Question N?'"
    is_written = _written(out, count)
    parties = (
        Party("-j 64", (*run, "--workers", "1"), is_written, items=count),
        Party("two processes", (*run, "--workers", "2"), is_written, items=count),
        Party("asyncio SDK", (python, str(scripts / "asyncio_sdk.py"), *script), is_written,
              items=count),
        Party("bare aiohttp", (python, str(scripts / "bare_aiohttp.py"), *script), is_written,
              items=count),
        Party("xargs llm", (home.tool("sh"), "-c", asks), anything, items=few),
    )  # fmt: skip

    def set_up() -> None:
        write_questions(source, count)

    return Group("batch", f"{count} questions, asked at once as a command can", parties, set_up)


def _written(out: Path, count: int) -> Callable[[bytes], str | None]:
    """What a party wrote is in a file."""
    return lambda _output: has_lines(count)(out.read_bytes())


def _resume(home: Home, count: int) -> Group:
    source, out = home.folder / "many.ndjson", home.folder / "many.jsonl"
    pipechat = str(home.bin / "pipechat")
    run = (pipechat, "batch", "run", str(source), "-o", str(out), "-q", "-m", "bench-1")
    counted = f"wc -l {source} {out} && {home.tool('jq')} -c .id {source} | tail -n 1"
    parties = (
        Party("all complete", run, is_text("")),
        Party("wc, jq", (home.tool("sh"), "-c", counted), anything),
    )

    def set_up() -> None:
        write_questions(source, count)
        script = str(Path(__file__).parent / "complete_items.py")
        command = (str(home.bin / "python"), script, "bench-1", str(source), str(out))
        run_once(command, home.environ(), limit_s=300)

    return Group("resume", f"{count} items that are all complete", parties, set_up, long=True)
