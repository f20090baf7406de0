"""The script that completes in fish: a line for each option and argument of each command."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pipechat.commands.command_tree import KnownCommand, KnownOption, Values

_FUNCTIONS = r"""# Completion of pipechat in fish.

# Whether the command that is typed is $argv[1], and what is typed now its argument $argv[2].
function __pipechat_at
    set -l words (commandline -opc)
    set -l command
    set -l position 0
    set -l plain
    set -l skip
    for word in $words[2..-1]
        if test -n "$skip"
            set skip
        else if test -z "$plain"; and string match -q -- -- $word
            set plain 1
        else if test -z "$plain"; and string match -q -- '-*' $word
            contains -- $word $__pipechat_with_value
            and not contains -- "$command $word" $__pipechat_switches; and set skip 1
        else if test $position -eq 0; and contains -- "$command $word" $__pipechat_commands
            set command "$command $word"
        else
            set position (math $position + 1)
        end
    end
    test "$command" = "$argv[1]"; or return 1
    test (count $argv) -eq 1; and return 0
    switch $argv[2]
        case '*+'
            test (math $position + 1) -ge (string trim -c + $argv[2])
        case '*'
            test (math $position + 1) -eq $argv[2]
    end
end

function __pipechat_sessions
    set -l folder $HOME/.local/share/pipechat
    string match -q '/*' -- $XDG_DATA_HOME; and set folder $XDG_DATA_HOME/pipechat
    test -n "$PIPECHAT_HOME"; and set folder $PIPECHAT_HOME
    set -l paths $folder/sessions/*.jsonl
    set -q paths[1]; or return 0
    # What `history list` does not show is no session.
    string replace -rf '(?s)^.*/(?![-.])([^\x00-,/:-@[-^`{-\x7f]+)\.jsonl$' '$1' -- $paths
end

# What stands in config.toml between $argv[1] and $argv[2].
function __pipechat_in_config
    set -l folder $HOME/.config/pipechat
    string match -q '/*' -- $XDG_CONFIG_HOME; and set folder $XDG_CONFIG_HOME/pipechat
    test -n "$PIPECHAT_HOME"; and set folder $PIPECHAT_HOME
    test -f $folder/config.toml -a -r $folder/config.toml; or return 0
    set -l value '(?|"([^"\\\\]*)"|\'([^\']*)\'|([A-Za-z0-9_-]+))'
    # A ~ in front fish would put in as the home folder.
    string replace -rf "^\s*$argv[1]\s*$value$argv[2].*" '$1' <$folder/config.toml |
        string match -v '~*'
end

function __pipechat_profiles
    __pipechat_in_config '\[\s*profiles\s*\.' '\s*\]'
end

function __pipechat_models
    __pipechat_in_config 'model\s*=' ''
end

# The files that begin with $argv[2], each behind $argv[1].
function __pipechat_files
    for path in $argv[2]*
        test -d $path; and set path $path/
        printf '%s\n' $argv[1]$path
    end
end

function __pipechat_paths
    set -l typed (commandline -ct | string replace -r '^--\w+=' '' | string unescape)
    string match -q '*/*' -- $typed; and __pipechat_files '' $typed
end

function __pipechat_at_files
    set -l typed (commandline -ct | string replace -r '^--\w+=' '' | string unescape)
    string match -q '@*' -- $typed; and __pipechat_files @ (string sub -s 2 -- $typed)
end

complete -c pipechat -e
complete -c pipechat -f
"""
_CALLS = {
    "session": "__pipechat_sessions",
    "profile": "__pipechat_profiles",
    "model": "__pipechat_models",
    "at-file": "__pipechat_at_files",
}


def script_for(commands: Sequence[KnownCommand]) -> str:
    """The script."""
    by_path = {command.path: command for command in commands}
    lines = [*_tables(commands)]
    for command in commands:
        lines += _lines(command, by_path)
    return _FUNCTIONS + "\n".join(["", *lines, ""])


def _tables(commands: Sequence[KnownCommand]) -> Iterator[str]:
    paths = (command.path for command in commands if command.path)
    yield f"set -g __pipechat_commands {' '.join(_quoted(f' {path}') for path in paths)}"
    with_value = {
        flag: None
        for command in commands
        for option in command.options
        if option.values is not None
        for flag in option.flags
    }
    yield f"set -g __pipechat_with_value {' '.join(with_value)}"
    switches = (
        f" {command.path} {flag}"
        for command in commands
        for option in command.options
        if option.values is None
        for flag in option.flags
        if flag in with_value
    )
    yield f"set -g __pipechat_switches {' '.join(map(_quoted, switches))}"


def _lines(command: KnownCommand, by_path: dict[str, KnownCommand]) -> Iterator[str]:
    at = f"__pipechat_at {_quoted(f' {command.path}' if command.path else '')}"
    for name in command.commands:
        summary = by_path[f"{command.path} {name}".lstrip()].summary
        yield f"complete -c pipechat -n {_quoted(f'{at} 1')} -a {name} -d {_quoted(summary)}"
    for option in command.options:
        yield f"complete -c pipechat -n {_quoted(at)} {_option(option)}"
    for number, argument in enumerate(command.arguments, 1):
        place = f"{number}+" if argument.repeats else str(number)
        offers = _offers(argument.values)
        if offers:
            yield f"complete -c pipechat -n {_quoted(f'{at} {place}')} {offers}"


def _option(option: KnownOption) -> str:
    names = [
        f"-l {flag[2:]}" if flag.startswith("--") else f"-s {flag[1:]}" for flag in option.flags
    ]
    words = [*names, f"-d {_quoted(option.help)}"]
    if option.values is not None:
        words.append(f"-r {_offers(option.values) or '-f'}")
    return " ".join(words)


def _offers(values: Values) -> str:
    """The words and calls that fish offers, `-F` for files."""
    if "session" in values.kinds and "file" in values.kinds:
        return "-f -a '(__pipechat_sessions; __pipechat_paths)'"
    if "file" in values.kinds:
        return "-F"
    calls = [f"({_CALLS[kind]})" for kind in values.kinds]
    words = " ".join([*values.words, *calls])
    return f"-f -a {_quoted(words)}" if words else ""


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
