"""Which editor is used: the extra's prompt_toolkit, or readline.

The extra has no use on a terminal that can move no cursor.
"""

from collections.abc import Iterable, Mapping

from pipechat.chat.editor import DUMB, Editor
from pipechat.errors import UsageError


def open_editor(environ: Mapping[str, str], past: Iterable[str]) -> Editor:
    """The best editor there is for this terminal.

    Args:
        past: what was typed before, oldest first.

    Raises:
        UsageError: `no_line_editing`.
    """
    is_dumb = environ.get("TERM", "") in DUMB
    if not is_dumb:
        try:
            from pipechat.chat.toolkit_editor import ToolkitEditor
        except ImportError:  # the extra is not there
            pass
        else:
            return ToolkitEditor(past)
    try:
        from pipechat.chat.plain_editor import PlainEditor
    except ImportError as error:
        message = "this Python has no readline, without which a terminal cuts long lines"
        hint = "Give the questions through a pipe, or install the extra pipechat[chat]."
        raise UsageError("no_line_editing", message, hint) from error
    return PlainEditor(past, is_dumb=is_dumb)
