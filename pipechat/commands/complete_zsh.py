"""The script that completes in zsh: what `_arguments` has to know of each command."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pipechat.commands.command_tree import KnownArgument, KnownCommand, KnownOption, Values

_HEAD = "#compdef pipechat\n# Completion of pipechat in zsh.\n"

_FUNCTIONS = r"""
_pipechat_sessions() {
  local folder=$HOME/.local/share/pipechat odd='*[][ !"#$%&'\''()*+,/:;<=>?@\\^`{|}~[:cntrl:]]*'
  local -a names
  [[ ${XDG_DATA_HOME-} == /* ]] && folder=$XDG_DATA_HOME/pipechat
  [[ -n ${PIPECHAT_HOME-} ]] && folder=$PIPECHAT_HOME
  names=($folder/sessions/*.jsonl(N:t:r))
  # What `history list` does not show is no session.
  names=(${names:#${~odd}})
  names=(${names:#[-.]*})
  _pipechat_names sessions session
}

_pipechat_sessions_or_paths() {
  if [[ $PREFIX == */* ]]; then _files; else _pipechat_sessions; fi
}

_pipechat_profiles() {
  local -a names
  local blank='[[:space:]]*'
  _pipechat_in_config "^$blank\\[${blank}profiles$blank\\.$blank" "$blank\\]"
  _pipechat_names profiles profile
}

_pipechat_models() {
  local -a names
  local blank='[[:space:]]*'
  _pipechat_in_config "^${blank}model$blank=$blank" ''
  _pipechat_names models model
}

_pipechat_profiles_or_models() {
  _alternative profiles:profile:_pipechat_profiles models:model:_pipechat_models
}

# Sets `names` to what stands in config.toml between $1 and $2.
_pipechat_in_config() {
  local file=$HOME/.config/pipechat line name MATCH MBEGIN MEND
  local -a match mbegin mend
  [[ ${XDG_CONFIG_HOME-} == /* ]] && file=$XDG_CONFIG_HOME/pipechat
  [[ -n ${PIPECHAT_HOME-} ]] && file=$PIPECHAT_HOME
  file+=/config.toml
  [[ -f $file && -r $file ]] || return 0
  while IFS= read -r line || [[ -n $line ]]; do
    if [[ $line =~ $1'("([^"\\]*)"|'\''([^'\'']*)'\''|([A-Za-z0-9_-]+))'$2 ]]; then
      names+=("${match[2]-}${match[3]-}${match[4]-}")
    fi
  done <$file
}

_pipechat_names() {
  local expl
  _wanted $1 expl $2 compadd -a -- names
}

# A message would keep zsh from putting in the one option that there is.
_pipechat_nothing() {
  return 1
}

_pipechat_at_files() {
  compset -P @ && _files
}
"""

_TAIL = r"""
if [[ $funcstack[1] == _pipechat ]]; then
  _pipechat "$@"
else
  compdef _pipechat pipechat
fi
"""
_ACTIONS = {
    "session": "_pipechat_sessions",
    "profile": "_pipechat_profiles",
    "model": "_pipechat_models",
    "file": "_files",
    "at-file": "_pipechat_at_files",
}


def script_for(commands: Sequence[KnownCommand]) -> str:
    """The script."""
    by_path = {command.path: command for command in commands}
    functions = (line for command in commands for line in _function(command, by_path))
    return _HEAD + _FUNCTIONS + "\n".join(["", *functions]) + _TAIL


def _function(command: KnownCommand, by_path: dict[str, KnownCommand]) -> Iterator[str]:
    yield f"{_name(command.path)}() {{"
    if command.commands:
        yield "  local context curcontext=$curcontext state line expl"
        yield "  typeset -A opt_args"
        yield "  local -a commands"
    yield f"  _arguments {'-C' if command.commands else '-s'} -S \\"
    for option in command.options:
        yield from (f"    {spec} \\" for spec in _option_specs(option))
    for number, argument in enumerate(command.arguments, 1):
        yield f"    {_argument_spec(argument, number)} \\"
    if not command.commands:
        yield "    && return 0"
        yield "}\n"
        return
    yield "    '1: :->command' '*::argument:->rest' && return 0"
    yield "  case $state in"
    yield "    command)"
    inner = [by_path[f"{command.path} {name}".lstrip()] for name in command.commands]
    for each in inner:
        yield f"      commands+=({_quoted(f'{each.name}:{each.summary}')})"
    yield "      _describe -t commands command commands"
    yield "      ;;"
    yield "    rest)"
    yield "      case $words[1] in"
    for each in inner:
        yield f"        {each.name}) {_name(each.path)} ;;"
    yield "      esac"
    yield "      ;;"
    yield "  esac"
    yield "}\n"


def _name(path: str) -> str:
    # Two underscores: `_pipechat_models` completes the names of models, and is no command.
    return "__".join(["_pipechat", *path.split()])


def _option_specs(option: KnownOption) -> Iterator[str]:
    others = "*" if option.repeats else f"({' '.join(option.flags)})"
    for flag in option.flags:
        spec = f"{others}{flag}"
        if option.values is not None:
            # A value follows in the same word or in the next.
            spec += "=" if flag.startswith("--") else "+"
        spec += f"[{_escaped(option.help)}]"
        if option.values is not None:
            spec += f":{_escaped(option.shown.rpartition(' ')[2])}:{_action(option.values) or ' '}"
        yield _quoted(spec)


def _argument_spec(argument: KnownArgument, number: int) -> str:
    place = "*" if argument.repeats else str(number)
    action = _action(argument.values) or "_pipechat_nothing"
    return _quoted(f"{place}:{_escaped(argument.metavar)}:{action}")


def _action(values: Values) -> str:
    """What completes such values, "" for nothing."""
    if "session" in values.kinds and "file" in values.kinds:
        return "_pipechat_sessions_or_paths"
    if values.kinds == ("profile", "model"):
        return "_pipechat_profiles_or_models"
    if values.kinds:
        return _ACTIONS[values.kinds[0]]
    return f"({' '.join(values.words)})" if values.words else ""


def _escaped(text: str) -> str:
    """Text within a specification of `_arguments`, where brackets and colons have a meaning."""
    for each in "\\[]:":
        text = text.replace(each, f"\\{each}")
    return text


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"
