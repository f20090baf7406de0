"""-f: the files that go along with a question, read and told apart."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

from pipechat.attached_files import check_size, read_attached_file
from pipechat.commands.loading import blaming
from pipechat.errors import UsageError
from pipechat.settings.resolve import Settings
from pipechat.text import visible_line
from pipechat.turn.attachments import Attachment, attach

_LONGEST_S = 1e6  # where there is no --timeout: more than a poll can wait for is an error


def read_attachments(
    settings: Settings, words: Sequence[str], read_stdin: Callable[[], bytes]
) -> Sequence[Attachment]:
    """The files in their order; `-` is stdin.

    Raises:
        UsageError: one cannot be read or sent, stdin is to be two things, or a word is a file.
    """
    if settings.origins["files"] == "--file":
        _check_words(words)
    if "-" in settings.files:
        _check_stdin_is_free(settings, words)
    return [_read(settings, path, read_stdin) for path in settings.files]


def _check_words(words: Sequence[str]) -> None:
    """`-f *.txt` gives -f one file, and makes words of the others."""
    for word in words:
        if ("." in word or "/" in word) and os.path.isfile(word):
            hint = "Write -f FILE -f FILE; a question that is a file's name goes in by stdin."
            message = f"{visible_line(word)} is a file beside --file, which takes one"
            raise UsageError("bad_option", message, hint)


def _check_stdin_is_free(settings: Settings, words: Sequence[str]) -> None:
    origin = settings.origins["files"]
    if settings.no_stdin:
        raise UsageError("bad_option", f"{origin} - is stdin, and --no-stdin leaves it alone")
    if "-" in words or settings.files.count("-") > 1:
        raise UsageError("bad_option", f"{origin} - is stdin, which can be only one thing")
    if not words and settings.template is None:
        message = f"{origin} - takes stdin, and there are no words to ask"
        raise UsageError("empty_question", message, "Give the question as arguments.")


def _read(settings: Settings, path: str, read_stdin: Callable[[], bytes]) -> Attachment:
    if path == "-":
        content = read_stdin()
        check_size("stdin", len(content), settings.max_file_mib)
        return attach("stdin", content)
    with blaming(settings, "files"):
        content = read_attached_file(
            path,
            max_file_mib=settings.max_file_mib,
            timeout_s=settings.timeout_s or _LONGEST_S,
        )
        return attach(path, content)
