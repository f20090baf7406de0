"""What was said, message by message, as turns; and what of it a turn has no place for. Pure."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple

from pipechat.messages import Turn, TurnError, new_turn_id, now
from pipechat.text import visible_line, whole_text

_MOST_KINDS = 8
_LONGEST_KIND = 40
_UNANSWERED: TurnError = {"code": "unanswered", "message": "there was no answer to import"}
_CUT: TurnError = {"code": "cut", "message": "the answer was not whole where it was kept"}


class Piece(NamedTuple):
    """A record of a turn, and whose it is: what has one `key` is one conversation. `title` is
    what people call it, or ""."""

    key: str
    title: str
    record: Mapping[str, Any]


class Lost:
    """What could not be kept: how often, by kind."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def add(self, kind: object, number: int = 1) -> None:
        """Count something of this kind, which may be a word of the file's."""
        self._counts[visible_line(str(kind))[:_LONGEST_KIND]] += number

    def told(self) -> str:
        """All of it in a line: `2 × image_url, 1 × tool message`; "" where all was kept."""
        shown = [f"{count} × {kind}" for kind, count in self._counts.most_common(_MOST_KINDS)]
        more = len(self._counts) - len(shown)
        return ", ".join([*shown, f"{more} more kinds"] if more > 0 else shown)


class Said(NamedTuple):
    """A message: who said what, with which model, when (RFC 3339 in UTC, or ""), and whether it
    is all of it."""

    role: Literal["system", "user", "assistant"]
    text: str
    model: str = ""
    time: str = ""
    is_whole: bool = True


def turns_of(said: Iterable[Said], lost: Lost) -> Iterator[Turn]:
    """Questions with their answers. Messages of one side behind each other are one, with an empty
    line between; the last question may have no answer, and is a turn that is not complete."""
    system: list[str] = []
    asked: list[Said] = []
    answers: list[Said] = []
    last_role = ""
    for each in said:
        if each.role != "assistant" and answers:
            yield _turn(system, asked, answers)
            asked, answers = [], []
        if each.role == last_role and each.role != "system":
            lost.add(f"break between two messages of the {each.role}")
        if each.role == "system":
            system = [*system, each.text] if last_role == "system" else [each.text]
        elif each.role == "user":
            asked.append(each)
        elif asked:
            answers.append(each)
        else:
            lost.add("answer without a question")
            continue
        last_role = each.role
    if asked:
        yield _turn(system, asked, answers)


def _turn(system: list[str], asked: list[Said], answers: list[Said]) -> Turn:
    error = None
    if not answers:
        error = _UNANSWERED
    elif not all(each.is_whole for each in answers):
        error = _CUT
    return Turn(
        id=new_turn_id(),
        time=next((each.time for each in (*asked, *answers) if each.time), now()),
        status="partial" if error else "complete",
        model=next((each.model for each in answers if each.model), ""),
        system=_joined(system) or None,
        question=_joined(each.text for each in asked),
        answer=_joined(each.text for each in answers),
        error=error,
    )


def _joined(texts: Iterable[str]) -> str:
    return whole_text("\n\n".join(text for text in texts if text))


def text_of(value: object) -> str:
    """`value`, where it is a text; "" where it is anything else."""
    return value if isinstance(value, str) else ""


def time_of(value: object) -> str:
    """A time in UTC, RFC 3339: of seconds since 1970, or of an ISO 8601 text, which without an
    offset is UTC; "" where it is none."""
    try:
        if isinstance(value, int | float) and not isinstance(value, bool) and value > 0:
            at = datetime.fromtimestamp(value, UTC)
        elif isinstance(value, str):
            at = datetime.fromisoformat(value)
            at = at.replace(tzinfo=at.tzinfo or UTC).astimezone(UTC)
        else:
            return ""
    except (ValueError, OverflowError, OSError):
        return ""
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
