"""The rows that are measured, with their targets; some groups hold parties beside them, to show
where a number comes from. A title names no size that --quick or --turns changes: the group does."""

from __future__ import annotations

import shutil

from benching import asking, batching, searching, spending, starting
from benching.home import Home
from benching.measuring import run_once
from benching.parties import llm
from benching.plan import Group, Row, Sizes

_TOOLS = ("curl", "jq", "sed", "grep", "stdbuf")

ROWS = (
    Row("ask, 20 chunks: pipechat / llm", "ask-short", "pipechat", "llm", 0.26),
    Row("ask, 20 chunks: pipechat / plain SDK", "ask-short", "pipechat", "plain SDK", 0.30),
    Row("ask, long: pipechat / llm", "ask-long", "pipechat", "llm", 0.13),
    Row("ask, long: pipechat / plain SDK", "ask-long", "pipechat", "plain SDK"),
    Row("ask, long: pipechat / curl|sed|jq", "ask-long", "pipechat", "curl|sed|jq", 0.42),
    Row(
        "ask, long: pipechat / curl|stdbuf sed|jq",
        "ask-long",
        "pipechat",
        "curl|stdbuf sed|jq",
        2.5,
    ),
    Row("ask, long: ndjson / text", "ask-long", "pipechat ndjson", "pipechat", 1.1),
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
    Row("completion / import typer", "start", "completion bash", "import typer"),
    Row(
        "p99 of asks in a row / their median",
        "tails",
        "pipechat",
        "pipechat",
        1.5,
        "tail",
    ),
    Row(
        "the longest of asks in a row / their median",
        "tails",
        "pipechat",
        "pipechat",
        None,
        "worst",
    ),
    Row("16 asks side by side: pipechat / llm", "side by side", "pipechat", "llm"),
    Row("the same, CPU", "side by side", "pipechat", "llm", None, "cpu"),
    Row("the same, peak memory of one", "side by side", "pipechat", "llm", None, "peak"),
    Row("ask --once, answered before / ask", "wanted", "--once", "ask"),
    Row("ask --schema / ask", "wanted", "--schema", "ask"),
    Row("ask, long session / one turn", "session", "ask, long", "ask, one turn", 1.03),
    Row("the same, peak memory", "session", "ask, long", "ask, one turn", 1.03, "peak"),
    Row("ask, long session / 20 turns", "session", "ask, long", "ask, 20 turns"),
    Row("history show, long session / 20 turns", "session", "show, long", "show, 20 turns"),
    Row(
        "ask --session, many sessions / one",
        "sessions",
        "ask, many sessions",
        "ask, one session",
        1.03,
    ),
    Row("history list -n 20, many sessions / one", "sessions", "list, many", "list, one"),
    Row("history search / grep -c", "search", "history search", "grep -c", 3),
    Row("history search -i / grep -ci", "search", "history search -i", "grep -ci", 4),
    Row("history search -E / grep -cE", "search", "history search -E", "grep -cE", 10),
    Row("history search / jq", "search", "history search", "jq", 0.15),
    Row("usage / jq -s group_by", "usage", "usage", "jq -s group_by", 0.30),
    Row("the same, peak memory, to 1,000 lines", "usage", "usage", "usage, short", 1.1, "peak"),
    Row("batch, a request: one process / SDK", "batch", "-j 64", "asyncio SDK", 0.40),
    Row("the same, CPU", "batch", "-j 64", "asyncio SDK", 0.40, "cpu"),
    Row("batch, a request: two processes / SDK", "batch", "two processes", "asyncio SDK", 0.25),
    Row("batch, a request: one process / bare aiohttp", "batch", "-j 64", "bare aiohttp"),
    Row(
        "batch, a request: two processes / xargs llm", "batch", "two processes", "xargs llm", 1 / 60
    ),
    Row(
        "coprocess, a turn: pipechat − bare aiohttp (ms)",
        "coprocess",
        "batch run -",
        "bare aiohttp",
        3,
        "p50",
    ),
    Row("batch, nothing left to ask / wc, jq", "resume", "all complete", "wc, jq", 8),
    Row("latency p99, pipechat − curl -N (ms)", "latency", "pipechat", "curl -N", 1, "p99"),
    Row(
        "first word from afar, pipechat − curl -N (ms)", "far", "pipechat", "curl -N", 200, "first"
    ),
)


def make_groups(home: Home, sizes: Sizes) -> list[Group]:
    """All groups, in the order in which they are measured."""
    return [
        starting.start(home),
        asking.ask(home, "ask-short", 20),
        asking.ask(home, "ask-long", sizes.chunks),
        asking.tails(home, sizes.tails),
        asking.side_by_side(home),
        asking.wanted(home),
        asking.session(home, sizes.turns),
        asking.many_sessions(home, sizes.sessions),
        searching.searching(home, sizes.turns),
        spending.usage(home, sizes.turns),
        asking.far(home),
        asking.latency(home, sizes.paced),
        batching.batch(home, sizes.items),
        batching.coprocess(home, sizes.paced),
        batching.resume(home, sizes.turns),
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
