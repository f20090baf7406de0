"""Session files made by hand: what a session of many turns looks like on disk (README, "The
session file"), some 1 kB a turn, written as fast as the disk takes it."""

import json
import os
import time
from pathlib import Path

NEEDLE = "zugzwang"  # what the search rows look for
BYTES_A_TURN = 1_050

_BATCH = 5_000
_QUESTIONS = (
    "How do I list the files of a folder by size, the largest first, without their folders?",
    "Summarise the attached log in three sentences, and name the first line that is an error.",
    "Was bedeutet „Naïveté“ in diesem Satz, und wie würde man es auf Englisch sagen?",
)
_SENTENCE = 'A pipe joins two programs: what the first "writes", the second one reads, line {}.\n'


def needles(turns: int) -> int:
    """How many of `turns` turns hold the needle: ten, so one in 100,000 of a million."""
    return turns // _every(turns)


def _every(turns: int) -> int:
    return max(1, turns // 10)


def write_session(path: Path, turns: int) -> None:
    """A session of `turns` complete turns, a minute apart, the last one a minute ago."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    templates = [_template(question) for question in _QUESTIONS]
    first, every = int(time.time()) - 60 * turns, _every(turns)
    with path.open("wb") as file:
        path.chmod(0o600)
        for begin in range(0, turns, _BATCH):
            numbers = range(begin, min(begin + _BATCH, turns))
            file.write(b"".join(_line(templates, first, every, number) for number in numbers))


def copy_session(path: Path, count: int) -> None:
    """Others beside the session at `path`, `count` with it: as it is, but for their names."""
    content = path.read_bytes()
    for number in range(1, count):
        fd = os.open(path.with_name(f"s{number}.jsonl"), os.O_WRONLY | os.O_CREAT, 0o600)
        with open(fd, "wb") as file:
            file.write(content)


def _template(question: str) -> bytes:
    answer = "".join(_SENTENCE.format(number) for number in range(6)) + "WORD."
    record = {
        "v": 1,
        "id": "TURN-ID",
        "time": "TIME",
        "status": "complete",
        "model": "gpt-5.4-mini",
        "system": None,
        "question": question,
        "answer": answer,
        "finish_reason": "stop",
        "usage": {"prompt_tokens": 912, "completion_tokens": 118, "total_tokens": 1030},
        "first_token_s": 0.312,
        "total_s": 1.924,
        "error": None,
        "request_id": "req_011CVLv2uM9yKzXw4hT3rBqP",
        "turn_tokens": 143,
    }
    line = json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
    line = line.replace(b"%", b"%%").replace(b"TURN-ID", b"%b")
    return line.replace(b"TIME", b"%b").replace(b"WORD", b"%b")


def _line(templates: list[bytes], first: int, every: int, number: int) -> bytes:
    seconds = first + 60 * number
    when = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(seconds)).encode()
    stamp = b"%012x" % (seconds * 1000)
    turn_id = b"%b-%b-7000-8000-%012x" % (stamp[:8], stamp[8:], number)
    word = NEEDLE.encode() if (number + 1) % every == 0 else b"the end of turn %d" % number
    return templates[number % len(templates)] % (turn_id, when, word)
