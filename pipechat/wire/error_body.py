"""What the body of an error says, whatever its shape: its message, and the status it stands for.

Pure; the shapes are WIRE.md's. However much a server says, little of it is looked at: nothing
here may take longer than the answer would have.
"""

from collections.abc import Mapping
from typing import Any

# Words that servers put into `code` or `type`, and the status that they stand for. A word is
# stronger than the status it came with: insufficient_quota comes as 429 and is final.
_WORDS = {
    "insufficient_quota": 402,
    "insufficient_balance": 402,
    "insufficient_balance_error": 402,
    "exceeded_current_quota": 402,
    "exceeded_current_quota_error": 402,
    "billing_not_active": 402,
    "insufficient_user_quota": 402,
    "1113": 402,  # Zhipu: the account is in arrears
    "1008": 402,  # MiniMax: insufficient balance
    "arrearage": 402,
    "billing_hard_limit_reached": 402,
    "quota_exceeded": 402,
    "context_length_exceeded": 413,
    "exceed_context_size_error": 413,
    "string_above_max_length": 413,
    "model_not_found": 404,
    "not_found_error": 404,
    "invalid_model": 404,
    "invalid_api_key": 401,
    "incorrect_api_key": 401,
    "authentication_error": 401,
    "permission_error": 403,
    "permission_denied": 403,
    "rate_limit_exceeded": 429,
    "rate_limit_error": 429,
    "too_many_requests": 429,
    "server_error": 500,
    "internal_error": 500,
    "internal_server_error": 500,
    "api_error": 500,
    "overloaded": 503,
    "overloaded_error": 529,
    "service_unavailable": 503,
    "unavailable_error": 503,
    "timeout": 504,
    "invalid_request_error": 400,
    "bad_request_error": 400,
    "badrequesterror": 400,
    "content_policy_violation": 400,
}

# What messages say where no word does: all of these, in lower case, and the status they stand for.
_PHRASES: tuple[tuple[int, tuple[str, ...]], ...] = (
    (402, ("insufficient", "balance")),
    (402, ("insufficient", "credit")),
    (402, ("insufficient", "quota")),
    (402, ("exceeded", "current quota")),
    (402, ("余额不足",)),
    (402, ("out of credits",)),
    (402, ("billing", "hard limit")),
    (413, ("context length",)),
    (413, ("context size",)),
    (413, ("context window",)),
)
_NO_MODEL = ("unknown model", "no such model", "invalid model")
_NOT_THERE = ("not found", "not exist", "n't exist", "unknown")

# However much a server says, this much of it is looked at and shown.
JUDGED_CHARACTERS = 2000
_DEEPEST = 6


class ErrorBody:
    """What an error body says, whatever its shape: `message`, and `words`, lower case, from
    `code` and `type`; `number` where the code is one."""

    def __init__(self, body: object) -> None:
        if isinstance(body, list) and len(body) == 1:
            body = body[0]  # one vendor wraps its errors in a list
        error = body
        if isinstance(body, Mapping):
            error = body.get("error") or body
        if isinstance(error, Mapping) and isinstance(error.get("base_resp"), Mapping):
            error = error["base_resp"]
        self.message = ""
        self.words: list[str] = []
        self.number: int | None = None
        if isinstance(error, str):
            self.message = error
        elif isinstance(error, Mapping):
            self.message = _first_text(error, *_MESSAGE_KEYS)
            for key in ("code", "type", "status", "status_code", "error_code"):
                self._take_code(error.get(key))
        elif isinstance(error, list) and error:
            self.message = _first_text({"detail": error}, "detail")
        self.message = self.message[:JUDGED_CHARACTERS]

    def _take_code(self, value: object) -> None:
        if isinstance(value, int) and not isinstance(value, bool):
            self.number = self.number or value
            value = str(value) if abs(value) < 1_000_000 else ""
        if isinstance(value, str) and value:
            if value.isascii() and value.isdigit() and len(value) <= 3:
                self.number = self.number or int(value)
            else:
                self.words.append(value[:100].lower())

    @property
    def is_too_large(self) -> bool:
        """Whether one request asks for more than a limit allows: no waiting helps."""
        return _asks_more_than_the_limit(self.message.lower())

    def status(self, fallback: int | None) -> int | None:
        """The HTTP status this error stands for: by its words, else the response's own status,
        else the number in its code."""
        text = self.message.lower()
        for word in self.words:
            meant = _WORDS.get(word)
            # `invalid_request_error`, `server_error` and their like are a server's type for
            # everything: the status knows more.
            if meant == 429 and _asks_more_than_the_limit(text):
                return 413
            if meant and (400 < meant < 500 or fallback is None):
                return meant if meant != 429 else self._phrase(text) or meant
        if meant := self._phrase(text):
            return meant
        if fallback in (413, 429) and _asks_more_than_the_limit(text):
            return 413
        if fallback == 400 and ("api key" in text or "api_key" in text):
            return 401
        if fallback in (400, 503) and _is_about_the_model(text):
            return 404
        if fallback is not None:
            return fallback
        return self.number if self.number and 400 <= self.number <= 599 else None

    @staticmethod
    def _phrase(text: str) -> int | None:
        return next((meant for meant, words in _PHRASES if all(w in text for w in words)), None)


_MESSAGE_KEYS = (
    "message", "detail", "title", "error", "errors", "msg", "status_msg", "error_msg",
    "error_message",
)  # fmt: skip


def _is_about_the_model(text: str) -> bool:
    if any(words in text for words in _NO_MODEL):
        return True
    place = text.find("model")
    return place >= 0 and any(words in text[place:] for words in _NOT_THERE)


def _asks_more_than_the_limit(text: str) -> bool:
    """Whether the message says `limit M` and `requested N` with N > M: waiting does not help."""
    limit, requested = _number_after(text, "limit"), _number_after(text, "requested")
    return limit is not None and requested is not None and requested > limit


def _number_after(text: str, word: str) -> int | None:
    """The number that stands right behind `word`, whatever blanks and signs are between."""
    place = text.find(word)
    while place >= 0:
        rest = text[place + len(word) : place + len(word) + 24].lstrip(" :=(")
        digits = "".join(letter for letter in rest.split(" ")[0] if letter not in ",_.;)")
        if digits.isascii() and digits.isdigit():
            return int(digits)
        place = text.find(word, place + 1)
    return None


def _first_text(error: Mapping[str, Any], *keys: str, depth: int = 0) -> str:
    if depth > _DEEPEST:
        return ""
    for key in keys:
        value = error.get(key)
        if isinstance(value, str) and value:
            return value
        if isinstance(value, list) and value:
            value = value[0]
            if isinstance(value, str):
                return value
        if isinstance(value, Mapping):
            found = _first_text(value, "message", "detail", "msg", depth=depth + 1)
            if found:
                return found
    return ""
