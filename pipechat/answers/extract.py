"""Taking a part out of an answer: its first fenced block, or its first JSON value. Pure.

What is returned stood in the answer, character by character; nothing is mended.
"""

import json
import re
from collections.abc import Iterator
from typing import NoReturn

from pipechat.jsonl import loads

_LINE = re.compile(r"[^\r\n]*(?:\r\n|\r|\n|\Z)")
# Of a list item: its marker, and the blanks up to its text, at most four.
_ITEM = re.compile(r"[ \t]*(?:[-*+]|[0-9]{1,9}[.)])[ \t]{1,4}(?=\S)")
_INDENT = re.compile(r"[ \t]*")
_FENCE = re.compile(r"(?P<fence>`{3,}(?=[^`\r\n]*(?:[\r\n]|\Z))|~{3,})")
_TAB = 4
_MOST_WORK = 50_000_000  # characters read, tries in vain counted: a tenth of a second or so


def first_code_block(answer: str) -> str | None:
    """The content of the first fenced block (CommonMark 4.5), or None where there is none.

    Fences are ``` or ~~~, also in list items; a block that is never closed is none, since its
    end may be missing. The fence's own indentation is taken off each line. A block of no lines
    is "". Blocks in quotes (`> ```) are not looked for.
    """
    lines = _lines(answer)
    item_width = 0
    for line in lines:
        item = _ITEM.match(line)
        prefix = item.group() if item else _blanks(line)
        width = _width(prefix)
        if item:
            item_width = width
        elif not width and line.strip():
            item_width = 0  # a line of text at the margin: no list goes on
        fence = _FENCE.match(line, len(prefix))
        if fence and width <= item_width + 3:  # further in, it is text (CommonMark 4.4)
            return _content(lines, fence["fence"], width)
    return None


def _content(lines: Iterator[str], fence: str, width: int) -> str | None:
    closing = re.compile(rf"[ \t]*{re.escape(fence[0])}{{{len(fence)},}}[ \t]*(?:\r\n|\r|\n|\Z)")
    content: list[str] = []
    for line in lines:
        if closing.fullmatch(line) and _width(_blanks(line)) <= width + 3:
            return "".join(content)
        content.append(_without_indent(line, width))
    return None


def _lines(text: str) -> Iterator[str]:
    """The lines with their ends, as Markdown has them: U+2028 and its like end none."""
    return (found.group() for found in _LINE.finditer(text) if found.group())


def _blanks(line: str) -> str:
    found = _INDENT.match(line)
    return found.group() if found else ""


def _width(prefix: str) -> int:
    return len(prefix.expandtabs(_TAB))


def _without_indent(line: str, width: int) -> str:
    blanks = _blanks(line)
    taken = 0
    while taken < len(blanks) and _width(blanks[: taken + 1]) <= width:
        taken += 1
    return line[taken:]


def first_json(answer: str) -> str | None:
    """The text of the first JSON value, or None where there is none.

    That is the whole answer (white space around it aside) where it is one value, a number or a
    string too; else the first object or array that is complete. RFC 8259: no NaN, no comments.
    """
    stripped = answer.strip(" \t\r\n")
    try:
        loads(stripped)
    except ValueError:
        return _first_container(answer)
    return stripped


def _first_container(answer: str) -> str | None:
    decoder = json.JSONDecoder(parse_constant=_refuse)
    work = 0
    for opening in re.finditer(r"[{\[]", answer):
        start = opening.start()
        try:
            _, end = decoder.raw_decode(answer, start)
        except json.JSONDecodeError as error:
            work += max(1, error.pos - start)
        except RecursionError:
            return None  # nested beyond any reader; what is inside would not be the first
        except ValueError:
            work += 1
        else:
            return answer[start:end]
        if work > _MOST_WORK:
            return None
    return None


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON")
