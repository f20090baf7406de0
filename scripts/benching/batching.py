"""The groups of many questions."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from benching.home import Home
from benching.measuring import run_once
from benching.parties import Party, anything, has_lines, is_text, write_questions
from benching.plan import Group


def batch(home: Home, count: int) -> Group:
    scripts = Path(__file__).parent
    python, out = str(home.bin / "python"), home.folder / "out.jsonl"
    source = home.folder / "questions.ndjson"
    few = 32
    pipechat = str(home.bin / "pipechat")
    how = ("-q", "-m", "bench-20", "-j", "64", "--fresh")
    run = (pipechat, "batch", "run", str(source), "-o", str(out), *how)
    elsewhere = home.folder / "others.jsonl"  # records alone may stand in ours
    script = ("bench-20", str(source), "64", str(elsewhere))
    asks = f"seq {few} | xargs -P 16 -I N {home.bin}/llm --no-log -m bench-20 'Question N?'"
    is_written, is_answered = _written(out, count), _written(elsewhere, count)
    parties = (
        Party("-j 64", (*run, "--workers", "1"), is_written, items=count),
        Party("two processes", (*run, "--workers", "2"), is_written, items=count),
        Party("asyncio SDK", (python, str(scripts / "asyncio_sdk.py"), *script), is_answered,
              items=count),
        Party("bare aiohttp", (python, str(scripts / "bare_aiohttp.py"), *script), is_answered,
              items=count),
        Party("xargs llm", (home.tool("sh"), "-c", asks), anything, items=few),
    )  # fmt: skip

    def set_up() -> None:
        write_questions(source, count)

    return Group("batch", f"{count} questions, asked at once as a command can", parties, set_up)


def _written(out: Path, count: int) -> Callable[[bytes], str | None]:
    """What a party wrote is in a file."""
    return lambda _output: has_lines(count)(out.read_bytes())


def coprocess(home: Home, count: int) -> Group:
    scripts, python = Path(__file__).parent, str(home.bin / "python")
    answers = (str(home.bin / "pipechat"), "batch", "run", "-q", "-m", "bench-20", "-")
    parties = (
        Party(
            "batch run -",
            (python, str(scripts / "coprocess.py"), str(count), *answers),
            anything,
        ),
        Party(
            "bare aiohttp",
            (python, str(scripts / "turn_by_turn.py"), str(count), "bench-20"),
            anything,
        ),
    )
    about = f"{count} questions, each after the answer to the last"
    return Group("coprocess", about, parties, stamped=True)


def resume(home: Home, count: int) -> Group:
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
