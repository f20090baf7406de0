"""What can go wrong, and the exit code each failure has.

Knows nothing else of pipechat. The tree, by exit code (DESIGN §4):

    PipechatError
    ├── BugError         1    anything unforeseen
    ├── UsageError       2    bad flag, empty question, unreadable input
    ├── SetupError       3    no key, bad config, 401, 403
    ├── RefusedError     4    the API will refuse it again
    ├── TryLaterError    5    408, 409, 429, 5xx
    │   └── NetworkError 5    the connection or a deadline: says nothing of the answer
    ├── IncompleteError  6    the answer was cut, truncated, filtered or refused
    ├── MismatchError    7    the answer does not match --schema, or holds nothing for --extract
    ├── BudgetError      8    a budget is spent; nothing was sent
    ├── SessionError     9    the store: missing, busy, unreadable, unwritable
    ├── (none)          10    a batch ended, some of its items failed
    ├── OutputError     11    stdout or -o FILE could not be written
    └── Interrupted     128+n a signal ended the turn
        └── ReaderLeft  141   nobody reads stdout any more
"""

import errno
import signal
import sys
from enum import IntEnum
from typing import Any


class ExitCode(IntEnum):
    """The exit status of the program, one for each kind of failure."""

    COMPLETE = 0
    BUG = 1
    USAGE = 2
    SETUP = 3
    REFUSED = 4
    TRY_LATER = 5
    INCOMPLETE = 6
    MISMATCH = 7
    BUDGET = 8
    SESSION = 9
    SOME_FAILED = 10
    OUTPUT = 11
    HANGUP = 128 + signal.SIGHUP
    INTERRUPT = 128 + signal.SIGINT
    READER_LEFT = 128 + signal.SIGPIPE
    TERMINATED = 128 + signal.SIGTERM


class PipechatError(Exception):
    """A failure that pipechat foresees.

    `code` is the word that stderr and the `error` event name; `message` says what
    happened; `hint` says what to try. `retryable`: another try may help.
    """

    exit_code: ExitCode = ExitCode.BUG
    retryable: bool = False

    def __init__(
        self, code: str, message: str, hint: str = "", *, retryable: bool | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint
        if retryable is not None:
            self.retryable = retryable

    def __reduce__(self) -> tuple[Any, ...]:
        # Workers in other processes hand theirs over; what caused it stays there.
        return _restored, (type(self), dict(self.__dict__))

    def line(self) -> str:
        """The one line for stderr, without the newline: `pipechat: CODE: what. What to try.`"""
        text = f"pipechat: {self.code}: {_sentence(self.message)}"
        return f"{text} {_sentence(self.hint)}" if self.hint else text


def _restored(kind: type[PipechatError], attributes: dict[str, Any]) -> PipechatError:
    error = kind.__new__(kind, attributes["message"])
    error.__dict__.update(attributes)
    return error


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?", "…")) else text + "."


class BugError(PipechatError):
    """What pipechat did not foresee; `__cause__` is what was raised. Only its kind is told:
    nobody knows what it quotes, and this goes into records and events."""

    def __init__(self, error: Exception) -> None:
        what = f"an unforeseen {type(error).__name__}"
        super().__init__("bug", what, "Run it again with -v, and report what it says.")
        self.__cause__ = error


_HINT = "Send less, or look at `ulimit -v` and the machine's memory."
_NO_MEMORY = ("no_memory", "there is not enough memory", _HINT)
_LACKS = {  # by what the system says, also through a library that cannot be loaded, or Python
    "Too many open files": ("no_descriptor", "too many files are open", "Look at `ulimit -n`."),
    "Cannot allocate memory": _NO_MEMORY,
    "failed to map segment": _NO_MEMORY,
    "can't start new thread": ("no_thread", "no thread could be started", "Look at `ulimit -u`."),
}


def as_ours(error: Exception) -> PipechatError:
    """`error` as one of ours. What the machine has too little of is no bug."""
    if isinstance(error, PipechatError):
        return error
    tells = isinstance(error, OSError | ImportError | RuntimeError)
    said = str(getattr(error, "strerror", "") or error) if tells else ""
    known = next((lack for words, lack in _LACKS.items() if words in said), None)
    lack = _NO_MEMORY if isinstance(error, MemoryError) else known
    ours = TryLaterError(*lack, again=lack is not _NO_MEMORY) if lack else BugError(error)
    ours.__cause__ = error
    return ours


class UsageError(PipechatError):
    """The command line or the input is wrong; nothing was sent."""

    exit_code = ExitCode.USAGE


def missing_extra(what: str, requirement: str) -> UsageError:
    """The error for a package that only some options need. The line that installs it names this
    Python: pipx and uv give each program one of its own, without pip."""
    hint = f"Install it: pip --python {sys.executable} install '{requirement}'"
    return UsageError("missing_extra", what, hint)


class SetupError(PipechatError):
    """The key or the configuration is missing, wrong or refused."""

    exit_code = ExitCode.SETUP


class RefusedError(PipechatError):
    """The API refused the request and will refuse it again.

    Fields of the request that the refusal can be about: `parameters`, which pipechat sent by
    itself, and `asked_for`, which it names and somebody asked for. `is_unknown`: such a field is
    refused itself, and not its value. `status` is the HTTP status where there was one.
    """

    exit_code = ExitCode.REFUSED
    status: int | None = None
    parameters: tuple[str, ...] = ()
    asked_for: tuple[str, ...] = ()
    is_unknown: bool = False


class TryLaterError(PipechatError):
    """The request failed for now.

    `status` is the HTTP status where there was one; `retry_after_s` what the server asked
    for, in seconds; `again` whether pipechat itself may send the request once more.
    """

    exit_code = ExitCode.TRY_LATER
    retryable = True

    def __init__(
        self,
        code: str,
        message: str,
        hint: str = "",
        *,
        status: int | None = None,
        retry_after_s: float | None = None,
        again: bool = True,
    ) -> None:
        super().__init__(code, message, hint)
        self.status = status
        self.retry_after_s = retry_after_s
        self.again = again


class NetworkError(TryLaterError):
    """The connection failed or a deadline passed."""


class IncompleteError(PipechatError):
    """The answer ended, but it is not whole."""

    exit_code = ExitCode.INCOMPLETE


class MismatchError(PipechatError):
    """The answer is whole, but not what was asked for."""

    exit_code = ExitCode.MISMATCH
    retryable = True


class BudgetError(PipechatError):
    """A budget is spent, or has no room for this request; nothing was sent."""

    exit_code = ExitCode.BUDGET


class SessionError(PipechatError):
    """The session store failed: missing, busy, unreadable, unwritable, full."""

    exit_code = ExitCode.SESSION


class OutputError(PipechatError):
    """stdout or the file of -o could not be written."""

    exit_code = ExitCode.OUTPUT


def unwritable_file(
    code: str, name: str, error: OSError, what: str = "", hint: str = ""
) -> OutputError:
    """The error for a file that the system refused to write.

    Args:
        name: what messages call it.
        what: what `error` means, where that is no matter of the path.
    """
    match error:
        case FileNotFoundError():
            what, hint = "its folder is not there", hint or "Make the folder, or name another."
        case IsADirectoryError():
            what, hint = "it is a folder", hint or "Name a file in it."
        case NotADirectoryError():
            what, hint = "a part of the path is no folder", hint or "Look at the path."
        case PermissionError():
            hint = hint or "Look at its owner and mode, and its folder's."
        case OSError(errno=errno.ELOOP) if not what:
            what, hint = "its symbolic links lead in a circle", "Look at where they lead."
    message = f"{name} could not be written: {what or error.strerror or error}"
    return OutputError(code, message, hint)


class Interrupted(PipechatError):  # noqa: N818 — not an error of ours: somebody asked us to stop
    """A signal ended the turn; the program dies by `signum` once the partial is kept."""

    retryable = True

    def __init__(self, signum: int) -> None:
        name = signal.Signals(signum).name
        super().__init__("interrupted", f"stopped by {name}")
        self.signum = signum
        self.exit_code = ExitCode(128 + signum)


class ReaderLeft(Interrupted):
    """stdout has no reader any more (EPIPE): the request is given up."""

    def __init__(self) -> None:
        super().__init__(signal.SIGPIPE)
        self.code = "reader_left"
        self.message = "the reader of stdout went away"
