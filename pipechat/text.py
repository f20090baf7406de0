"""Text made fit to be read and shown: UTF-8, control characters, secrets (FAULTS §4). Pure."""

from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any

from pipechat.errors import UsageError

# C0 but newline and tab, DEL, C1, and the controls that turn the direction of text around:
# an answer must not move the cursor, write the clipboard or look like another.
_BIDI = (0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A))
_SHOWN: dict[int, str] = {
    **{code: f"^{chr(code ^ 0x40)}" for code in (*range(0x20), 0x7F) if code not in (0x09, 0x0A)},
    **{code: f"<U+{code:04X}>" for code in (*range(0x80, 0xA0), *_BIDI)},
}


_ESCAPED = {code: f"\\u{code:04x}" for code in _SHOWN}


def visible(text: str) -> str:
    """`text` with every control character shown: ESC as `^[`, U+009B as `<U+009B>`."""
    return text if text.isprintable() else text.translate(_SHOWN)


def visible_line(text: str) -> str:
    """The same for a message of one line: newlines and tabs are shown too."""
    return visible(text).replace("\n", "^J").replace("\t", " ")


_IN_HTML = {code: shown.replace("<", "&lt;").replace(">", "&gt;") for code, shown in _SHOWN.items()}


def visible_html(html: str) -> str:
    """HTML that shows what `html` does, every control character visible: also those that an
    entity or an escape was read to."""
    return html if html.isprintable() else html.translate(_IN_HTML)


def visible_json(text: str) -> str:
    """A line of JSON that says the same with no control character in it: they stand in strings
    alone, where an escape means the same."""
    return text if text.isprintable() else text.translate(_ESCAPED)


_SHORTEST_SECRET = 8
_DEEPEST = 64
# What people set where a server wants no key at all.
_PLACEHOLDERS = frozenset(
    ("sk-no-key-required", "no-key-required", "not-needed", "not-required", "placeholder")
)


# Of more names than these the rest is not looked at: an error is to come at once.
_MOST_NAMES = 10_000


def nearest(name: str, known: Iterable[str]) -> str:
    """Which of the `known` names was meant by `name`, in upper or lower case; "" where none is
    near. The one rule for whatever is mistyped."""
    from difflib import get_close_matches  # only where something is wrong

    by_name = {each.casefold(): each for each in sorted(islice(known, _MOST_NAMES))}
    found = get_close_matches(name.casefold(), by_name, n=1)
    return by_name[found[0]] if found else ""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """`Did you mean …?`, or "" where nothing is near."""
    found = nearest(name, known)
    return f"Did you mean {found!r}?" if found else ""


def not_one_of(value: str, choices: Iterable[str]) -> str:
    """What is said of a value that is none of `choices`."""
    names = list(choices)
    said = f"{value!r} is not one of {', '.join(names)}"
    return f"{said}. {did_you_mean(value, names)}".removesuffix(". ")


def is_secret(text: str) -> bool:
    """Whether `text` is worth hiding: no placeholder, and too long to stand in other words."""
    return len(text) >= _SHORTEST_SECRET and text not in _PLACEHOLDERS


def redacted(text: str, secrets: Iterable[str]) -> str:
    """`text` with `secrets` blotted out, wherever a server or a library echoed them."""
    for secret in secrets:
        if is_secret(secret):
            text = text.replace(secret, "[key]")
    return text


def redacted_values(value: Any, secrets: Iterable[str], depth: int = 0) -> Any:
    """The decoded JSON `value` with `secrets` blotted out of its strings. Keys are names and stay
    as they are; an entry whose key is no plain name and holds a secret goes. What is nested more
    deeply than anybody means it, from `depth` on, is null: Python counts levels too."""
    if isinstance(value, str):
        return redacted(value, secrets)
    if not isinstance(value, Mapping | list):
        return value
    if depth == _DEEPEST:
        return None
    if isinstance(value, list):
        return [redacted_values(item, secrets, depth + 1) for item in value]
    return {
        key: redacted_values(item, secrets, depth + 1)
        for key, item in value.items()
        if key.replace("_", "").isalpha() or redacted(key, secrets) == key
    }


def in_mib(size: int) -> str:
    """A number of bytes in the unit that settings have: `16 MiB`."""
    return f"{round(size / (1 << 20), 3):g} MiB"


def decode_text(data: bytes, what: str, *, lossy: bool = False) -> str:
    """`data` as UTF-8; with `lossy`, what is none is replaced by U+FFFD.

    Raises:
        UsageError: `not_utf8`, with the offset of the first byte that is not UTF-8.
    """
    try:
        return data.decode("utf-8", "replace" if lossy else "strict")
    except UnicodeDecodeError as error:
        raise UsageError(
            "not_utf8",
            f"{what} is not UTF-8: byte 0x{data[error.start]:02x} at offset {error.start}",
            "Convert it (iconv), or replace such bytes with --lossy.",
        ) from None


def check_argument(text: str, what: str) -> str:
    """An argument as it came from the shell, where bytes that are not UTF-8 became surrogates.

    Raises:
        UsageError: `not_utf8`.
    """
    return text if text.isascii() else decode_text(text.encode("utf-8", "surrogateescape"), what)


def whole_text(text: str) -> str:
    """`text` fit for UTF-8: surrogate pairs joined, lone surrogates replaced by U+FFFD."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def counted(number: int, what: str) -> str:
    """So many of them: `1 item`, `2 items`; `what` is the word for one."""
    if number == 1:
        return f"1 {what}"
    return f"{number} {what}es" if what.endswith("ch") else f"{number} {what}s"
