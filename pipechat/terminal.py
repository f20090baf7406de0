"""Text made fit to be shown: control characters and secrets (FAULTS §4). Pure."""

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


def visible_json(text: str) -> str:
    """A line of JSON that says the same with no control character in it: they stand in strings
    alone, where an escape means the same."""
    return text if text.isprintable() else text.translate(_ESCAPED)


def redacted(text: str, secret: str | None) -> str:
    """`text` with `secret` blotted out, wherever a server or a library echoed it."""
    return text.replace(secret, "[key]") if secret else text
