"""The groups of one question and its answer."""

from __future__ import annotations

from pathlib import Path

from benching import answers, sessions
from benching.home import Home
from benching.measuring import NotMeasuredError, run_once
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
)
from benching.plan import Group


def ask(home: Home, name: str, chunks: int) -> Group:
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


def session(home: Home, turns: int) -> Group:
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


def latency(home: Home, chunks: int) -> Group:
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


def tails(home: Home, runs: int) -> Group:
    """How long the slowest of many asks take: what cron sees."""
    session = SessionOnDisk(home, "tails", 1)
    is_answer = is_text("".join(answers.texts(20)))
    party = Party("pipechat", session.asked(20), is_answer, session.restore)
    return Group("tails", f"{runs} asks, one after the other", (party,), session.write, runs=runs)


def side_by_side(home: Home) -> Group:
    """As many asks at once as a shell starts."""
    many = 16
    pipechat = f"{home.bin}/pipechat ask --no-stdin -m bench-20"
    start = f"seq {many} | xargs -P {many} -I N"
    shell = home.tool("sh")
    parties = (
        Party("pipechat", (shell, "-c", f"{start} {pipechat} 'Question N?'"), anything),
        Party(
            "llm",
            (shell, "-c", f"{start} {home.bin}/llm --no-log -m bench-20 'Question N?'"),
            anything,
        ),
    )
    return Group("side by side", f"{many} asks at once, by xargs -P {many}", parties, long=True)


def wanted(home: Home) -> Group:
    """What it costs to look for an answer that is there, and to judge one."""
    session, answered = SessionOnDisk(home, "wanted", 1), SessionOnDisk(home, "answered", 1)
    is_answer = is_text("".join(answers.texts(20)))
    once = ("--once", "a key")
    parties = (
        Party("ask", session.asked(20), is_answer, session.restore),
        Party("--once", answered.asked(20, *once), is_answer),
        Party("--schema", _with_schema(home), is_text(answers.JSON_TEXT)),
    )

    def set_up() -> None:
        session.write()
        answered.write()
        run_once(answered.asked(20, *once), home.environ(), limit_s=60)

    return Group("wanted", "an answer that was given before, one that is judged", parties, set_up)


def _with_schema(home: Home) -> tuple[str, ...]:
    schema = ("--schema", "name, age int, tags [str]")
    return (str(home.bin / "pipechat"), "ask", "-m", "json-20", *schema, QUESTION)


def many_sessions(home: Home, count: int) -> Group:
    """The same session by itself, and as one of many in a folder of its own."""
    folders = {"one": home.folder / "few", "many": home.folder / "many"}
    alone, among = (SessionOnDisk(home, "s0", 1, folder) for folder in folders.values())
    is_answer = is_text("".join(answers.texts(20)))
    listed = ("history", "list", "-n", "20")
    pipechat = str(home.bin / "pipechat")
    at = {name: (home.tool("env"), f"PIPECHAT_HOME={folder}") for name, folder in folders.items()}
    parties = (
        Party("ask, one session", (*at["one"], *alone.asked(20)), is_answer, alone.restore),
        Party("ask, many sessions", (*at["many"], *among.asked(20)), is_answer, among.restore),
        Party("list, one", (*at["one"], pipechat, *listed), has_lines(1)),
        Party("list, many", (*at["many"], pipechat, *listed), has_lines(min(20, count))),
    )

    def set_up() -> None:
        alone.write()
        among.write()
        sessions.copy_session(among.path, count)

    return Group("sessions", f"a session of one turn, alone and among {count:,}", parties, set_up)


def far(home: Home) -> Group:
    session = SessionOnDisk(home, "far", 1)
    pem, url = ("--cacert", home.far_certificate), home.far_url
    asked = (*session.asked(1, *pem, "--base-url", url, "-m", "paced-1"),)
    parties = (
        Party("pipechat", asked, anything, session.restore),
        Party("curl -N", curl(home, "paced-1", *pem, url=url), anything),
    )

    def set_up() -> None:
        if not home.far_port:
            raise NotMeasuredError("openssl made no certificate")
        session.write()

    about = "one word from a server that is 40 ms away, each direction, and speaks TLS"
    return Group("far", about, parties, set_up, stamped=True)
