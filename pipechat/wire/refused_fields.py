"""Which fields of a request a refusal is about, as servers put it. Pure; imported with the first
refusal.

Seen of OpenAI and Azure ("Unrecognized request argument supplied: store"), Mistral, vLLM and
LiteLLM (pydantic's `loc`), Groq ("property 'store' is unsupported"), Gemini ('Unknown name
"store"'), xAI ("Argument not supported on this model: stop"), Rust's serde ("unknown field `store`,
expected one of …"), Go ("json: unknown field"), ASP.NET (the field as a key), Zhipu (in Chinese).
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from pipechat import jsonl
from pipechat.wire.error_body import JUDGED_CHARACTERS

# A server's words that may be about any field of ours, since they name none.
_ANY_FIELD = (
    "extra",
    "unrecognized",
    "unexpected",
    "unknown",
    "additional propert",
    "not permitted",
)
# What came of a field, in words that are never about its value.
_NO_SUCH_FIELD = (
    *_ANY_FIELD,
    "unsupported",
    "not support",
    "not supported",
    "n't support",
    "not allowed",
    "not available",
    "not recognized",
    "not a valid parameter",
    "deprecated",
    "invalid parameter",
    "invalid argument",
    "instead",
    "不支持",
)
_WRONG_VALUE = (
    "unsupported value",
    "invalid value",
    "too large",
    "too big",
    "too high",
    "exceed",
    "at most",
    "at least",
    "must be",
    "should be",
    "less than",
    "greater than",
    "maximum",
    "minimum",
    "out of range",
)
# What stands behind these is what a server knows, not what it refuses.
_KNOWN = re.compile(
    r"expected one of|(?<!not )\b(?:supported|allowed|valid|known|accepted) "
    r"(?:parameters|fields|arguments|keys|properties|options)\b"
)
_ECHOES = ("input", "ctx", "received")  # of the request, in the bodies of pydantic's errors
_DEEPEST = 8
# A shorter name is a word of the language as well, and a field only where it looks like one:
# quoted, behind a word or a colon that announces it, or with words behind it that are of fields.
_LONG_NAME = 8
_AS_A_FIELD = (
    r"['\"`]{name}['\"`.\[\\]",
    r"[.\[]{name}(?![\w.])",
    r"[^\x00-\x7f]{name}(?!\w)",
    r"\b(?:parameter|argument|field|property|key|option|supplied|input)s?\W{{1,3}}{name}(?!\w)",
    r": {name}['\".,)\]]",
    r"\b{name} (?:parameter|argument|field|option|is not|is un|must be|does not|cannot be)",
)
_NO_SUCH_ROLE = (
    *_NO_SUCH_FIELD,
    "invalid",
    "not one of",
    "not enabled",
    "not valid",
    "must be",
    "should be",
    "cannot be used",
)
_OTHERS_ALONE = re.compile(
    r"\broles?\b.{0,40}must alternate|only (?:the )?['\"]?user['\"]? and ['\"]?assistant|"
    r"should be ['\"]user['\"](?:,| or) ['\"]assistant|must be (?:either )?['\"]?user['\"]? or"
)


def said_of_the_request(content: bytes) -> str:
    """The text of a refusal, in lower case, without what it repeats of the request."""
    try:
        text = jsonl.dumps(_without_echoes(jsonl.loads(content))).decode()
    except ValueError:
        text = content.decode("utf-8", "replace")
    text = text[:JUDGED_CHARACTERS].lower()
    known = _KNOWN.search(text)
    return text[: known.start()] if known else text


def _without_echoes(value: Any, depth: int = 0) -> Any:
    if depth > _DEEPEST:
        return None
    if isinstance(value, Mapping):
        inner = {key: each for key, each in value.items() if key not in _ECHOES}
        return {key: _without_echoes(each, depth + 1) for key, each in inner.items()}
    if isinstance(value, list):
        return [_without_echoes(each, depth + 1) for each in value]
    return value


def named(said: str, names: Iterable[str]) -> tuple[str, ...]:
    """Those of the fields `names` that `said` names."""
    return tuple(name for name in names if _is_named(said, name.lower()))


def _is_named(said: str, name: str) -> bool:
    if name not in said or " " in name:  # words: also of several
        return name in said
    plain = re.escape(name)
    if len(name) >= _LONG_NAME or not name.isalpha():
        return re.search(rf"(?<!\w){plain}(?!\w)", said, re.ASCII) is not None
    return any(re.search(each.format(name=plain), said, re.ASCII) for each in _AS_A_FIELD)


def may_be_any(said: str) -> bool:
    """Whether a refusal that names no field may be about one that nobody asked for: it says
    nothing, or speaks of a field too many."""
    return not said.strip() or any(word in said for word in _ANY_FIELD)


def is_unknown(said: str) -> bool:
    """Whether a refusal that names a field is of the field itself, and not of its value."""
    wrong_value = any(word in said for word in _WRONG_VALUE)
    return not wrong_value and any(word in said for word in _NO_SUCH_FIELD)


def refuses_role(said: str, role: str) -> bool:
    """Whether it is the message of the role `role` that is refused."""
    if _OTHERS_ALONE.search(said):
        return True
    kinds = "role|message|prompt|instruction"
    about = re.search(rf"\b(?:{role}|developer) (?:{kinds})", said) is not None
    about = about or (role in said and re.search(r"\broles?\b", said) is not None)
    return about and any(word in said for word in _NO_SUCH_ROLE)
