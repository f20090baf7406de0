"""Which names a session may have. Pure: a bad name is refused, never rewritten (DESIGN §6)."""

from pipechat.errors import UsageError
from pipechat.text import visible_line

MAX_NAME_BYTES = 200
_TITLE_LENGTH = 48
_ASCII = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-")
# Source: learn.microsoft.com/windows/win32/fileio/naming-a-file. The name up to its first dot
# counts, in any case; so do the superscript digits, which are no digits here anyway.
_WINDOWS = frozenset(
    ["con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in "0123456789")]
)
# Letters and marks that nobody sees (Default_Ignorable_Code_Point, UAX #44): two names that
# look the same would be two sessions.
_INVISIBLE = frozenset(
    (0x34F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x180B, 0x180C, 0x180D, 0x180F, 0x3164, 0xFFA0)
).union(range(0xFE00, 0xFE10), range(0xE0100, 0xE01F0))


def check_name(name: str) -> None:
    """Let `name` pass, or raise.

    Letters and digits of any script, with the marks that combine with them; `.`, `_`, `-`, of
    which `.` and `-` not in front; at most 200 bytes of UTF-8; in Unicode's form NFC, since
    the same name in another form would be another file.

    Raises:
        UsageError: `bad_session_name`, saying what is wrong.
    """
    if reason := _fault(name):
        hint = "Use letters, digits, '.', '_' and '-', beginning with a letter, digit or '_'."
        if is_path(name):
            reason = "it is a path"
            hint = "Give a session's name: only `history show`, `search` and `export` read files."
        shown = visible_line(name if len(name) <= 60 else name[:60] + "…")
        raise UsageError("bad_session_name", f"{shown!r} is no session name: {reason}", hint)


def is_name(name: str) -> bool:
    """Whether a session may be named so."""
    return not _fault(name)


def name_of_title(title: str) -> str:
    """A name that reads as `title` does, for what other programs call by any text; "" where none
    of its letters may stand in a name."""
    import unicodedata

    name = before = ""
    for character in unicodedata.normalize("NFC", title[:_TITLE_LENGTH]):
        fits = is_name(f"a{name}{character}" if name else character)
        if fits or before != "-":
            before = character if fits else "-"
            name += before
    name = name.strip(".-")
    return name if is_name(name) else ""


def is_path(text: str) -> bool:
    """Whether `text` names a file and no session: it holds a `/`, which no session's name does."""
    return "/" in text


def called(name: str) -> str:
    """What messages call it: a session by its name, a file by its path."""
    return name if is_path(name) else f"session {name!r}"


def _fault(name: str) -> str:
    if not name:
        return "it is empty"
    if name[0] in ".-":
        return f"it begins with {name[0]!r}"
    if name.partition(".")[0].lower() in _WINDOWS:
        return "Windows reserves it"
    if not _ASCII.issuperset(name) and (reason := _unicode_fault(name)):
        return reason
    if len(name.encode()) > MAX_NAME_BYTES:
        return f"it has more than {MAX_NAME_BYTES} bytes"
    return ""


def _unicode_fault(name: str) -> str:
    import unicodedata  # only for the names that need it: a tenth of a millisecond, each start

    before = ""
    for character in name:
        category = unicodedata.category(character)
        combines = category[0] == "M" and before[:1] in ("L", "M", "N")
        fits = character in _ASCII or category[0] == "L" or category == "Nd" or combines
        if not fits or ord(character) in _INVISIBLE:
            return f"it holds {character!r}"
        before = category
    if not unicodedata.is_normalized("NFC", name):
        return "it is not in Unicode's normal form NFC"
    return ""
