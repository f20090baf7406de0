"""What JSON can say of a value, to a depth that no API needs. Pure."""

import math

DEEPEST = 100
"""Levels of an option's value, or of an item's messages: no API has as many."""


def is_json(value: object, depth: int = 0) -> bool:
    """TOML has dates, and floats that are no numbers; text may hold bytes that are no UTF-8."""
    if depth > DEEPEST:
        return False
    if isinstance(value, str):
        return value.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in value)
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, dict):
        return all(isinstance(key, str) and is_json(item, depth + 1) for key, item in value.items())
    if isinstance(value, list):
        return all(is_json(item, depth + 1) for item in value)
    return value is None or isinstance(value, int)
