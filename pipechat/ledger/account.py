"""The account of a turn's requests, and the book that keeps a line for each that was sent.

Every `ask` comes through here, so nothing is imported or read that no line needs. A line tells
when, who asked, who answered and what it took; nothing of what was said. Knows no budget.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from pipechat import jsonl
from pipechat.errors import PipechatError, SessionError
from pipechat.events import Told
from pipechat.messages import Turn, TurnStatus, now

if TYPE_CHECKING:  # a Protocol takes a tenth of a millisecond to make
    from collections.abc import Callable, Mapping, Sequence
    from typing import Protocol

    class Books(Protocol):
        """Who keeps accounts. `key` is the turn's id.

        `reserve`, before a request is sent, is told all lines of the turn as they would stand if
        nothing more were known of it; it raises PipechatError where it must not be sent. `ready` is
        called while the server thinks. `settle` keeps the lines of turns, by their ids, for good.
        `waits`: to reserve may take a while.
        """

        @property
        def waits(self) -> bool: ...
        def reserve(self, key: str, lines: Callable[[], list[Line]]) -> None: ...
        def ready(self) -> None: ...
        def settle(self, turns: Mapping[str, list[Line]]) -> None: ...

    class Writer(Protocol):
        """Who keeps a turn in flight (the TurnWriter of `turn`)."""

        @property
        def id(self) -> str: ...
        def head(self, turn: Turn) -> None: ...
        def text(self, text: str) -> None: ...
        def finish(self, turn: Turn) -> None: ...
        def abandon(self) -> None: ...


Line = dict[str, Any]
DEFAULT_ANSWER_TOKENS = 4096  # what an answer is reckoned at that nothing limits
_OFF = "`ledger = false` in config.toml keeps none."
_SURELY_SOUND = 1 << 32  # a count of tokens below it needs no closer look


class Sent:
    """One request. `told`: says what is known of its cost by now; None: it was not sent."""

    def __init__(self, host: str, api: str, model: str, body: Mapping[str, Any]) -> None:
        self.at = now()
        self.host = host
        self.api = api
        self.asked = model
        self.body = body
        self.told: Callable[[], Told] | None = None
        self.is_over = False

    def line(self, who: Mapping[str, Any], status: str, answer_tokens: int) -> Line | None:
        """As it stands in the ledger; None where nothing of it reached a server."""
        told = self.told() if self.told is not None else Told(sent=not self.is_over)
        if not told.sent:
            return None
        line: Line = {"v": 1, "at": self.at, **who, "host": self.host, "api": self.api}
        line["model"] = told.model or self.asked
        if line["model"] != self.asked:
            line["asked"] = self.asked
        tier = told.tier or self.body.get("service_tier")
        if isinstance(tier, str) and tier != "auto":
            line["tier"] = tier
        line["usage"] = told.usage
        if not (told.refused or _is_counted(told.usage)):
            from pipechat.ledger.bounds import upper_bound

            line["bound"] = upper_bound(self.body, answer_tokens)
        return {**line, "status": status}


class Account:
    """The requests of one turn. `who`: what every line says of where they come from."""

    def __init__(
        self, books: Books, who: Mapping[str, Any], answer_tokens: int = DEFAULT_ANSWER_TOKENS
    ) -> None:
        self._books = books
        self._who = {name: value for name, value in who.items() if value is not None}
        self._answer_tokens = answer_tokens
        self._sent: list[Sent] = []
        self._closed = False

    def begin(self, host: str, api: str, model: str, body: Mapping[str, Any]) -> None:
        """A request is about to be sent. Raises PipechatError where it must not be."""
        self.ended()
        self._sent.append(Sent(host, api, model, body))
        try:
            self._books.reserve(self._who["turn"], lambda: self._lines("partial"))
        except BaseException:
            self._sent.pop()
            raise

    def going(self, told: Callable[[], Told]) -> None:
        """It is on its way; `told` says what is known of it."""
        self._sent[-1].told = told
        self._books.ready()

    def ended(self) -> None:
        """Nothing more comes of it."""
        if self._sent:
            self._sent[-1].is_over = True

    def close(self, status: TurnStatus) -> None:
        """The turn is over, and came to `status`. Raises SessionError where that must be kept and
        cannot be."""
        if not self._closed:
            self._books.settle(self.closed(status))

    def closed(self, status: TurnStatus) -> dict[str, list[Line]]:
        """The same for who settles many turns at once: the lines, by the turn's id."""
        self._closed = True
        self.ended()
        return {self._who["turn"]: self._lines(status)}

    def _lines(self, status: TurnStatus) -> list[Line]:
        last = len(self._sent) - 1
        each = (
            sent.line(self._who, status if place == last else "failed", self._answer_tokens)
            for place, sent in enumerate(self._sent)
        )
        return [line for line in each if line is not None]


class Accounts:
    """The accounts of a conversation, whose turns come one after the other."""

    def __init__(self, books: Books, answer_tokens: int = DEFAULT_ANSWER_TOKENS) -> None:
        self._books = books
        self._answer_tokens = answer_tokens
        self._account: Account | None = None

    def keeping(self, writer: Writer, session: str | None) -> Writer:
        """`writer`, which also keeps the account of its turn."""
        who = {"turn": writer.id, "session": session}
        self._account = Account(self._books, who, self._answer_tokens)
        return _AccountedWriter(writer, self._account)

    @property
    def account(self) -> Account:
        """That of the turn in flight."""
        assert self._account is not None
        return self._account


class _AccountedWriter:
    def __init__(self, writer: Writer, account: Account) -> None:
        self._writer = writer
        self._account = account
        self.id = writer.id
        self.head = writer.head
        self.text = writer.text

    def finish(self, turn: Turn) -> None:
        try:
            self._writer.finish(turn)
        finally:
            self._account.close(turn.status)

    def abandon(self) -> None:
        self._writer.abandon()
        self._account.close("failed")


class Book:
    """The ledger in `folder`, a file a month (UTC), without budgets.

    Args:
        must: it was asked for: where it cannot be written nothing is sent, and what was sent and
            cannot be kept is an error; else a warning by `warn`.
    """

    waits = False

    def __init__(self, folder: str, warn: Callable[[str], None], *, must: bool) -> None:
        self.folder = folder
        self._warn = warn
        self._must = must
        self._warned = False

    def reserve(self, key: str, lines: Callable[[], list[Line]]) -> None:  # noqa: ARG002 — of `Books`
        """As `Books.reserve`: whether it can be written at all."""
        if self._must:
            try:
                append(self.folder, [], at=now())
            except OSError as error:
                raise unwritable(self.folder, error, "Nothing was sent.") from error

    def ready(self) -> None:
        """Import what an append needs."""
        import pipechat.store.locked_file  # noqa: F401 — while nobody waits for it

    def settle(self, turns: Mapping[str, list[Line]]) -> None:
        """As `Books.settle`."""
        try:
            append(self.folder, [line for lines in turns.values() for line in lines])
        except OSError as error:
            failure = unwritable(self.folder, error)
            if self._must:
                raise failure from error
            if not self._warned:
                self._warned = True
                self._warn(failure.message)


def file_of(at: str) -> str:
    """The file of the ledger that has what was sent at a time."""
    return f"{at[:7]}.jsonl"


def append(folder: str, lines: Sequence[Line], *, at: str = "") -> None:
    """Add `lines` to the files of their months. `at`: see that the one of then can be added to.

    Raises:
        OSError: some could not be added.
    """
    from pipechat.store.locked_file import LockedFile, make_folder

    files: dict[str, list[bytes]] = {file_of(at): []} if at else {}
    for line in lines:
        files.setdefault(file_of(line["at"]), []).append(jsonl.dumps(line))
    for name, records in files.items():
        make_folder(folder)
        with LockedFile(os.path.join(folder, name), create=True) as file:
            if records:
                file.append(*records)


def unwritable(folder: str, error: OSError, and_so: str = "", hint: str = _OFF) -> PipechatError:
    """The error for a ledger that the system refused to write; `hint` goes behind `and_so`."""
    from pipechat.store.faults import words_for

    what, _ = words_for(error)
    message = f"the ledger, {os.fsdecode(error.filename or folder)}: {what}"
    return SessionError("ledger_unwritable", message, f"{and_so} {hint}".strip())


def _is_counted(usage: Mapping[str, Any] | None) -> bool:
    """Whether a usage tells both sides: the quick look, and where that fails, the whole one."""
    if usage is None:
        return False
    counts = map(usage.get, ("prompt_tokens", "completion_tokens"))
    if all(type(count) is int and 0 <= count < _SURELY_SOUND for count in counts):
        return True
    from pipechat.ledger.tokens import tokens_of

    return tokens_of(usage) is not None
