"""A command line that cannot be read: what is said of it, and what to try instead."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

from pipechat.commands import elsewhere
from pipechat.errors import UsageError
from pipechat.text import did_you_mean, nearest

_LONGEST = 60


def told_of(
    error: Any, path: str, arguments: Sequence[str], commands: Sequence[str]
) -> tuple[str, str]:
    """What is wrong, and what to try.

    Args:
        error: what typer raised.
        path: the command that it was raised for: `pipechat ask`.
        commands: those that there are.
    """
    said = re.sub("a valid int(eger)?( range)?", "a whole number", error.format_message())
    said = re.sub(r"is not in the range x>=(\d+)", r"is not \1 or more", said)
    inner = commands if path == "pipechat" else _commands_of(path.removeprefix("pipechat "))
    named = next((word for word in arguments if word in inner), "")
    see = f"See {path if path == 'pipechat' else f'{path} {named}'.rstrip()} --help."
    if type(error).__name__ == "NoSuchOption":
        if named:
            return error.message, f"Options come after the command: {path} {named} OPTIONS…."
        if question := _question(error.option_name, arguments):
            what = f"{_shortened(question)!r} begins with a dash and is no option"
            return what, _behind_a_dash(error, question)
        return error.message, f"{_nearest_option(error, arguments)} {see}".lstrip()
    if said.startswith("No such command"):
        return said, _nearest_command(path, arguments, inner, see)
    if said.startswith("Got unexpected extra argument"):
        return said, f"{elsewhere.too_many_words(path)} {see}".lstrip()
    return said, see


def check_dashes(parameters: Sequence[Any], arguments: Sequence[str], path: str) -> None:
    """Refuse the name of a long option behind one dash, which is read as letters: `-model x` as
    `-m odel`, with a question `x`.

    Args:
        parameters: those of the command, as typer has them.
        path: the command: `pipechat ask`.

    Raises:
        UsageError
    """
    names = {name: each for each in parameters for name in (*each.opts, *each.secondary_opts)}
    takes_next = False  # the word that comes is a value
    for word in arguments:
        if word == "--" and not takes_next:
            return
        long = f"-{word.partition('=')[0]}"
        if not takes_next and word[:1] == "-" and word[1:2] != "-" and long in names:
            hint = f"Did you mean {long!r}? See {path} --help."
            raise UsageError("usage", f"No such option: {word.partition('=')[0]}", hint)
        takes_next = not takes_next and _takes_next(word, names)


def _takes_next(word: str, names: Mapping[str, Any]) -> bool:
    """Whether the word behind an option is its value."""
    if word.startswith("--"):
        option = names.get(word)
        return option is not None and not option.is_flag
    if not word.startswith("-"):
        return False
    for place, letter in enumerate(word[1:], 2):
        option = names.get(f"-{letter}")
        if option is not None and not option.is_flag:
            return place == len(word)
    return False


def _behind_a_dash(error: Any, typed: str) -> str:
    """What to try instead of `-7`, as git and tail take it, and of words that are no option."""
    command = error.ctx.command
    if typed[1:].isdecimal() and any("-n" in each.opts for each in command.get_params(error.ctx)):
        return f"Use -n {typed[1:]}."
    what = "a question" if command.name in ("ask", "chat") else "a word"
    return f"Put `--` before {what} that begins with a dash."


def is_no_command(error: Any) -> bool:
    """Whether a group of commands stands alone."""
    return bool(error.format_message() == "Missing command.")


def _nearest_option(error: Any, arguments: Sequence[str]) -> str:
    """Of the command's own options; one dash for two is a slip as well."""
    params = error.ctx.command.get_params(error.ctx)
    known = [name for each in params for name in each.opts if name.startswith("-")]
    option = error.option_name
    path = error.ctx.command_path
    if option == "--session" and (session := _session(path, arguments)):
        return f"Did you mean: {shlex.join([*path.split(), session])}?"
    if not option.startswith("--"):
        typed = (word for word in arguments if word.startswith(option) and len(word) > len(option))
        whole = next(typed, "").partition("=")[0]
        if not whole:  # one letter is near to nothing
            return elsewhere.option_here(option, known)
        option = f"-{whole}"
        known = [name for name in known if name.startswith("--")]
    if here := elsewhere.option_here(option, known):
        return here
    # By their letters alone: the dashes are alike in all of them.
    bare = {name.lstrip("-"): name for name in known}
    found = bare.get(nearest(option.lstrip("-"), bare))
    return f"Did you mean {found!r}?" if found else ""


def _session(path: str, arguments: Sequence[str]) -> str:
    """The session that `--session` was to name, of a command that takes it as a word."""
    takes = path == "pipechat usage" or path.startswith("pipechat history ")
    if not takes or path.endswith(" list"):
        return ""
    words = iter(arguments)
    for word in words:
        name, _, value = word.partition("=")
        if name == "--session":
            return value or next(words, "")
    return ""


def _nearest_command(path: str, arguments: Sequence[str], inner: Sequence[str], see: str) -> str:
    depth = path.count(" ")
    words = [word for word in arguments if not word.startswith("-")][depth:]
    if here := elsewhere.command_here(path, words, inner):
        return f"Did you mean: {here}?"
    typed = words[0]
    if path != "pipechat":
        return f"{_of_group(path, typed, arguments, inner)} {see}".lstrip()
    everywhere = _everywhere(inner)
    found = everywhere.get(nearest(typed, everywhere), "")
    if typed in everywhere:
        return f"Did you mean: pipechat {found}?"
    meant = f"Did you mean {found!r}? Or" if found else "Did you mean"
    return f"{meant}: pipechat ask {_shortened(shlex.join(arguments))}? {see}"


def _of_group(path: str, typed: str, arguments: Sequence[str], inner: Sequence[str]) -> str:
    meant = did_you_mean(typed, inner)
    takes = elsewhere.takes_words(path)
    if meant or not takes:
        return meant
    rest = arguments[arguments.index(typed) :]
    return f"Did you mean: pipechat {takes} {_shortened(shlex.join(rest))}?"


def _everywhere(commands: Sequence[str]) -> Mapping[str, str]:
    """All commands by their own names, `list` as `history list`; of two, the first group's."""
    groups = reversed(commands)
    inner = {each: f"{group} {each}" for group in groups for each in _commands_of(group)}
    return {**inner, **{each: each for each in commands}}


def _commands_of(group: str) -> Sequence[str]:
    """The commands of a group such as `history`; none of a command."""
    if " " in group:
        return ()
    app = getattr(import_module(f"pipechat.commands.{group}"), group)
    names: Sequence[str] = getattr(app, "names", ())  # a command by itself has none
    return names


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


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "…"
