"""A command line that cannot be read: what is said of it, and what to try instead."""

from __future__ import annotations

from collections.abc import Sequence

_LONGEST = 60
_HISTORY = ("list", "show", "path", "search", "fork", "rename", "delete", "prune", "repair")


def told_of(error: Exception, said: str, path: str, arguments: Sequence[str]) -> tuple[str, str]:
    """What is wrong, and what to try.

    Args:
        error: what typer raised; `said`: its words.
        path: the command that it was raised for: `pipechat ask`.
    """
    said = said.replace("a valid int range", "a whole number")
    kind = type(error).__name__
    group = path in ("pipechat", "pipechat history")
    see = f"See {_narrowed(path, arguments)} --help."
    if kind == "NoSuchOption":
        option = str(getattr(error, "option_name", ""))
        if group and (named := _command_in(path, arguments)):
            return said, f"Options come after the command: {path} {named} OPTIONS…."
        if question := _question(option, arguments):
            what = f"{_shortened(question)!r} begins with a dash and is no option"
            return what, "Put `--` before a question that begins with a dash."
    elif path == "pipechat" and arguments:
        if arguments[0] in _HISTORY:
            return said, f"Did you mean: pipechat history {arguments[0]}?"
        if said.startswith("No such command"):
            begin = "Or" if "Did you mean" in said else "Did you mean"
            return said, f"{begin}: pipechat ask {_quoted(arguments)}? {see}"
    return said, see


def _question(option: str, arguments: Sequence[str]) -> str:
    """The argument that `option` was found in, where it can be none: blanks are in it, or no
    letter follows the dash."""
    for argument in arguments:
        is_cluster = argument.startswith("-") and not argument.startswith("--")
        begins = argument.startswith(option) or (is_cluster and option[1:] in argument)
        name = argument.partition("=")[0]
        if begins and (any(map(str.isspace, name)) or not name.strip("-")[:1].isalpha()):
            return argument
    return ""


def _narrowed(path: str, arguments: Sequence[str]) -> str:
    """`path` with the command of the group that it names: what typer leaves out at times."""
    return path if path != "pipechat history" else f"{path} {_command_in(path, arguments)}".rstrip()


def _command_in(path: str, arguments: Sequence[str]) -> str:
    known = _HISTORY if path.endswith("history") else ("ask", "chat", "history", "schema")
    return next((word for word in arguments if word in known), "")


def _quoted(arguments: Sequence[str]) -> str:
    import shlex  # only where something is wrong

    return _shortened(shlex.join(arguments))


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "…"
