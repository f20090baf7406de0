"""`/edit`: a question written in the user's own editor, which is chosen by git's rule."""

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from pipechat.chat.editor import DUMB, open_terminal
from pipechat.errors import UsageError
from pipechat.store.locked_file import open_to_read
from pipechat.text import decode_text, in_mib

# Of the shell's, by POSIX.
_WORDS = {126: "it may not be run", 127: "there is no such program"}


def written_in_editor(environ: Mapping[str, str], begin_with: str, most_bytes: int) -> str:
    """What the user wrote, without closing newlines. It lay in a folder of its own, 0700, which
    is gone again, but where it cannot be sent.

    Raises:
        UsageError: `editor_failed`, `not_utf8`, `input_too_large`.
    """
    editor = _editor(environ)
    folder = tempfile.mkdtemp(prefix="pipechat-")
    stays = False
    try:
        path = os.path.join(folder, "question.md")
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with open(fd, "w", encoding="utf-8") as file:
            file.write(begin_with)
        _run(editor, path)
        try:
            return _text_of(path, most_bytes).rstrip("\r\n")
        except UsageError as error:
            stays = True
            error.hint = f"Nothing was sent. It is still in {path}."
            raise
    except OSError as error:
        message = f"the question could not be edited: {error.strerror or error}"
        raise UsageError("editor_failed", message) from error
    finally:
        if not stays:
            shutil.rmtree(folder, ignore_errors=True)


def _text_of(path: str, most_bytes: int) -> str:
    try:
        fd = open_to_read(path)
    except FileNotFoundError:
        return ""
    with open(fd, "rb") as written:
        data = written.read(most_bytes + 1)
    if len(data) > most_bytes:
        message = f"what was written is larger than {in_mib(most_bytes)}"
        raise UsageError("input_too_large", message)
    return decode_text(data, "what was written")


def _editor(environ: Mapping[str, str]) -> str:
    is_dumb = environ.get("TERM", "") in DUMB
    visual = None if is_dumb else environ.get("VISUAL")
    editor = visual or environ.get("EDITOR") or (None if is_dumb else "vi")
    if editor is None:
        message = "this terminal is dumb, and EDITOR is not set"
        raise UsageError("editor_failed", message, "Set EDITOR to one that works on it.")
    return editor


def _run(editor: str, path: str) -> None:
    # Through the shell, since an editor may come with options of its own, as `code --wait`.
    command = ["sh", "-c", f'{editor} "$@"', editor, path]
    terminal = open_terminal()
    try:
        with _left_to_the_editor():
            status = subprocess.run(
                command, stdin=terminal, stdout=terminal, stderr=terminal, check=False
            ).returncode
    finally:
        os.close(terminal)
    if status:
        what = _WORDS.get(status, f"it ended with {status}")
        hint = "Nothing was sent. VISUAL or EDITOR names the editor."
        raise UsageError("editor_failed", f"{editor}: {what}", hint)


@contextmanager
def _left_to_the_editor() -> Iterator[None]:
    """Ctrl-C and Ctrl-\\ are the editor's. Not ignored, which it would inherit."""
    signums = (signal.SIGINT, signal.SIGQUIT)
    before = {each: signal.signal(each, lambda *_: None) for each in signums}
    try:
        yield
    finally:
        for signum, action in before.items():
            signal.signal(signum, action)
