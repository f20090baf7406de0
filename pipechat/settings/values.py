"""What a setting may be, and what it is where nobody says: one reader and one default each. Pure.

A reader takes a value as the command line or TOML gives it, returns it as `Settings` holds it, and
raises ValueError with what is wrong.
"""

import math
from collections.abc import Callable
from typing import Any

from pipechat.settings.urls import check_base_url, check_proxy_url

DEFAULT_MODEL = "gpt-5.4-mini"
DEFAULT_BASE_URL = "https://api.openai.com/v1"
OUTPUT_FORMATS = ("text", "json", "ndjson")


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("not a text")
    return value


def _model(value: object) -> str:
    model = _text(value)
    if not model or model.strip() != model or not model.isprintable():
        raise ValueError("not the name of a model")
    return model


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError("neither true nor false")
    return value


def _number(least: float, most: float = math.inf) -> Callable[[object], float]:
    def read(value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError("not a number")
        if not least <= value < math.inf:
            raise ValueError(f"{value} is not {least:g} or more")
        if value > most:
            raise ValueError(f"{value} is more than {most:g}")
        return value

    return read


def _whole(least: int) -> Callable[[object], int]:
    def read(value: object) -> int:
        number = _number(least)(value)
        if not isinstance(number, int):
            raise ValueError("not a whole number")
        return number

    return read


def _format(value: object) -> str:
    name = "ndjson" if value == "stream-json" else value
    if name not in OUTPUT_FORMATS:
        raise ValueError(f"{value!r} is not one of text, json, ndjson, stream-json")
    return str(name)


# A clock takes no more than 292 years; 30 are enough for anybody.
_SECONDS = _number(0, 1e9)

OPTION_READERS: dict[str, Callable[[object], Any]] = {
    "temperature": _number(0),
    "max_tokens": _whole(1),
}

# name: how its value is read, and the default. 600 s bound a cron job; a model that thinks for
# two minutes without a word is taken for stuck.
READERS: dict[str, tuple[Callable[[Any], Any], Any]] = {
    "model": (_model, DEFAULT_MODEL),
    "base_url": (check_base_url, DEFAULT_BASE_URL),
    "api_key": (_text, None),
    "api_key_command": (_text, None),
    "proxy": (check_proxy_url, None),
    "insecure_http": (_flag, False),
    "offline": (_flag, False),
    "timeout": (_SECONDS, 600.0),
    "first_token_timeout": (_SECONDS, None),
    "idle_timeout": (_SECONDS, 120.0),
    "retries": (_whole(0), 2),
    "last_turns": (_whole(0), 20),
    "context_tokens": (_whole(0), None),
    "system": (_text, None),
    "stream": (_flag, True),
    "allow_truncated": (_flag, False),
    "output_format": (_format, "text"),
    "usage": (_flag, False),
    "quiet": (_flag, False),
    "max_input_mib": (_number(0), 16),
    "user_prompt": (_text, None),
    "assistant_prompt": (_text, None),
}
