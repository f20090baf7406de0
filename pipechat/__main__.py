"""`python -m pipechat`, and the entry point of the `pipechat` command."""

import gc
import os
import signal
import sys

# A run makes little garbage in cycles, and the imports make none: collecting while they go on
# costs a tenth of the start-up.
_COLLECT_AFTER = 100_000
# Of the standard library: imported at the top of typer's files, or of those that these import, and
# used by few of their functions; which of them are imported at all, every Python has otherwise.
# A start takes 4 ms of 43 less without them.
_WAITING = frozenset(
    {
        "ast",
        "bz2",
        "ipaddress",
        "linecache",
        "lzma",
        "platform",
        "subprocess",
        "textwrap",
        "tokenize",
    }
)


def main() -> None:
    """Run the program with this process's arguments and streams; does not return."""
    _default_interrupts()  # before any import of ours
    _speak_utf8()
    _forget_current_folder()
    gc.set_threshold(_COLLECT_AFTER)
    from pipechat.quick_imports import import_quickly

    import_quickly()
    from pipechat.late_imports import waiting

    with waiting(_WAITING):
        from pipechat.main import run_and_exit

    run_and_exit()


def _default_interrupts() -> None:
    """Undo what Python does to SIGINT: KeyboardInterrupt raised in the middle of an import
    breaks the interpreter. An inherited SIG_IGN (nohup, a background job) is respected."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def _speak_utf8() -> None:
    """Begin again in UTF-8 where the locale has Python read arguments and file names otherwise:
    what is typed, named and kept is UTF-8 everywhere (PEP 540)."""
    if sys.getfilesystemencoding() != "utf-8" and not sys.flags.utf8_mode:
        os.execv(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]])


def _forget_current_folder() -> None:
    """Search no module where the user stands, as `-m` and an empty entry in PYTHONPATH have
    Python do: its typer.py is not ours. Where pipechat itself is there, so is the rest."""
    try:
        here = os.getcwd()
    except OSError:  # it was deleted
        return
    if here != os.path.dirname(os.path.dirname(os.path.abspath(__file__))):
        sys.path[:] = [folder for folder in sys.path if folder not in ("", ".", here)]


if __name__ == "__main__":
    main()
