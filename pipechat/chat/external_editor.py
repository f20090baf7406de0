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
from pipechat.text import decode_text

_NOT_FOUND = (126, 127)


def written_in_editor(environ: Mapping[str, str], begin_with: str) -> str:
    """What the user wrote, without closing newlines. It lay in a folder of its own, 0700, which
    is gone again.

    Raises:
        UsageError: `editor_failed`, `not_utf8`.
    """
    editor = _editor(environ)
    folder = tempfile.mkdtemp(prefix="pipechat-")
    try:
        path = os.path.join(folder, "question.md")
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with open(fd, "w", encoding="utf-8") as file:
            file.write(begin_with)
        _run(editor, path)
        try:
            with open(path, "rb") as written:
                data = written.read()
        except FileNotFoundError:
            data = b""
    except OSError as error:
        message = f"the question could not be edited: {error.strerror or error}"
        raise UsageError("editor_failed", message) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return decode_text(data, "what was written").rstrip("\r\n")


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
        what = "there is no such program" if status in _NOT_FOUND else f"it ended with {status}"
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
