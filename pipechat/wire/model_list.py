"""The models that an endpoint lists, whatever it calls what it tells of them. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from pipechat.wire.provider_id import is_id

# As OpenRouter, Together and Fireworks; Groq; vLLM and SGLang; Mistral and LM Studio; Anthropic;
# GitHub's `limits`; llama.cpp's `meta`.
_WINDOWS = ("context_length", "context_window", "max_model_len", "max_context_length",
            "max_input_tokens", "n_ctx", "n_ctx_train")  # fmt: skip
_OWNERS = ("owned_by", "organization", "publisher", "owner")
# As most; Azure's `inference` in `deprecation`, or in `lifecycle`.
_ENDS = ("shutdown_date", "shutdown_at", "shutoff_date", "retirement_date", "expiration_date",
         "sunset_date", "deprecation_date", "deprecation", "inference")  # fmt: skip
_WITHIN = ("top_provider", "limits", "meta", "deprecation", "lifecycle")
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_LARGEST_WINDOW = 10**12
_LATEST = 253_402_300_799  # the last second of the year 9999
_MILLISECONDS = 10**11
_LONGEST_OWNER = 100


class ServedModel(NamedTuple):
    """A model; None: not told. `context_window` in tokens, `shutdown_date` as YYYY-MM-DD."""

    id: str
    context_window: int | None
    owned_by: str | None
    shutdown_date: str | None


def entries_of(page: object) -> list[Any] | None:
    """What a page lists: `data`, `models`, or the page itself; None where it is no list."""
    if isinstance(page, Mapping):
        page = page["data"] if "data" in page else page.get("models")
    return page if isinstance(page, list) else None


def read_model(entry: object) -> ServedModel | None:
    """A model of a list; None where the entry names none."""
    if not isinstance(entry, Mapping):
        return None
    name = next((entry[key] for key in ("id", "name") if is_id(entry.get(key))), None)
    if name is None:
        return None
    tables = [entry, *(entry[key] for key in _WITHIN if isinstance(entry.get(key), Mapping))]
    return ServedModel(
        name,
        next((value for value in _values(tables, _WINDOWS) if _is_window(value)), None),
        next((value for value in _values(tables[:1], _OWNERS) if _is_owner(value)), None),
        next((day for value in _values(tables, _ENDS) if (day := read_day(value))), None),
    )


def read_day(value: object) -> str | None:
    """The day that a date, or seconds or milliseconds since 1970, say; None where none is said."""
    if isinstance(value, str):
        if value.isascii() and value.isdigit() and len(value) < 15:
            return read_day(int(value))
        found = _DATE.match(value)
        return found[0] if found else None
    if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
        return None
    seconds = value / 1000 if value > _MILLISECONDS else value
    if seconds > _LATEST:
        return None
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d")


def _values(tables: Sequence[Mapping[str, Any]], names: Sequence[str]) -> list[Any]:
    return [table[name] for name in names for table in tables if name in table]


def _is_window(value: object) -> bool:
    is_number = isinstance(value, int) and not isinstance(value, bool)
    return is_number and 0 < value <= _LARGEST_WINDOW  # type: ignore[operator]  # because it is one


def _is_owner(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= _LONGEST_OWNER and value.isprintable()
