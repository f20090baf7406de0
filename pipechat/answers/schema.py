"""Which schema the value of --schema is: a file, JSON, or the short form. Near pure: a file is
read by whoever is handed in."""

import re
from collections.abc import Callable

from pipechat.answers.short_schema import Schema, parse_short_schema
from pipechat.errors import UsageError
from pipechat.jsonl import loads
from pipechat.text import check_argument, decode_text, visible_line

# A path has a slash before its first blank, or ends as JSON files do and has nothing of a list.
_PATH = re.compile(r"@.*|[^\s,:\"{\[]*/.*|[^,:\"{\[|]*\.json", re.DOTALL)
_JSON = ("{", "[")  # the short form begins with a name


def read_schema(text: str, read_file: Callable[[str], bytes]) -> Schema:
    """The schema that `text` names or is. That it is a good one, `compile_schema` says.

    Args:
        text: `@FILE`, a path (with a slash, or ending in .json), a JSON object, or the short form.
        read_file: the bytes of a path; raises UsageError itself.

    Raises:
        UsageError: `bad_schema`: no JSON object, or no short form, with the place.
    """
    if _PATH.fullmatch(text.strip()):
        path = text.strip().removeprefix("@")
        where = f"the schema file {visible_line(path)}"
        text = decode_text(read_file(path), where).removeprefix("\ufeff")
        if text.lstrip().startswith(_JSON) or not _is_short(text):
            return _read_object(text, where)
        return parse_short_schema(text.strip())
    text = check_argument(text, "the schema").strip()
    if text.startswith(_JSON) or (text and not _is_short(text)):
        return _read_object(text, "the schema")
    return parse_short_schema(text)


def _is_short(text: str) -> bool:
    """Whether what begins no object or array of JSON is words: no scalar, not nothing."""
    try:
        loads(text)
    except ValueError:
        return bool(text.strip())
    return False


def _read_object(text: str, where: str) -> Schema:
    try:
        value = loads(text)
    except ValueError as error:
        raise UsageError("bad_schema", f"{where} is no JSON: {error}") from None
    if not isinstance(value, dict):
        what = "an array" if isinstance(value, list) else "a single value"
        hint = "An answer of any kind is told by an object as well: {}."
        if not isinstance(value, list) and "\n" not in text:
            hint += f" A field of that name: `{visible_line(text[:40].strip())} str`."
        raise UsageError("bad_schema", f"{where} is {what} and no JSON object", hint)
    return value
