"""A ledger made by hand: what a month of many requests looks like on disk, some 400 bytes a line,
written as fast as the disk takes it."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

MODELS = ("gpt-5.4", "gpt-5.4-mini", "gpt-5.4-nano")

_BATCH = 5_000
_FIRST = datetime(2026, 10, 1, tzinfo=UTC)
_MONTH_S = 30 * 86400


def write_ledger(folder: Path, lines: int) -> Path:
    """A month of `lines` requests in `folder`, spread over its days; its file."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / f"{_FIRST:%Y-%m}.jsonl"
    with path.open("wb") as file:
        for begin in range(0, lines, _BATCH):
            numbers = range(begin, min(begin + _BATCH, lines))
            file.write(b"".join(_line(number, lines) for number in numbers))
    return path


def _line(number: int, lines: int) -> bytes:
    at = _FIRST + timedelta(seconds=_MONTH_S * number // lines)
    prompt, completion = 200 + number * 7919 % 6000, 10 + number * 104729 % 800
    line = {
        "v": 1,
        "at": at.strftime("%Y-%m-%dT%H:%M:%S.000Z"),
        "turn": f"01a20632-3269-7831-b7d6-{number:012x}",
        "batch": "/home/me/answers.jsonl",
        "item": str(number),
        "host": "api.openai.com",
        "api": "chat",
        "model": MODELS[number % len(MODELS)],
        "tier": "default",
        "usage": {
            "prompt_tokens": prompt,
            "completion_tokens": completion,
            "total_tokens": prompt + completion,
            "prompt_tokens_details": {"cached_tokens": prompt // 3, "audio_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": completion // 2, "audio_tokens": 0},
        },
        "status": "complete",
    }
    return json.dumps(line, separators=(",", ":")).encode() + b"\n"
