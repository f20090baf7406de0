"""The script that completes in bash: tables of what there is, and functions that look up in them.

It works in bash 3.2, as macOS has it, but for the names of files, which take bash 4. A name is
never evaluated: it is matched, quoted and handed to readline.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pipechat.commands.command_tree import KnownCommand, Values

_FUNCTIONS = r"""
# Sets `found` to the sessions that begin with $1. What `history list` does not show is none.
_pipechat_sessions() {
  local path name odd='*[][ !"#$%&'\''()*+,/:;<=>?@\\^`{|}~[:cntrl:]]*'
  for path in "$_pipechat_data/sessions/$1"*.jsonl; do
    name=${path##*/}
    name=${name%.jsonl}
    # shellcheck disable=SC2053  # because it is a pattern
    if [[ -e $path && $name != [-.]* && $name != $odd ]]; then found+=("$name"); fi
  done
}

# Adds to `found` what in config.toml is a $1: a profile or a model.
_pipechat_in_config() {
  local line pattern value=$'("([^"\\\\]*)"|\'([^\']*)\'|([A-Za-z0-9_-]+))'
  local file=$_pipechat_config/config.toml
  local blank='[[:space:]]*'
  case $1 in
    profile) pattern="^$blank\[${blank}profiles$blank\.$blank$value$blank\]" ;;
    model) pattern="^${blank}model$blank=$blank$value" ;;
  esac
  [[ -f $file && -r $file ]] || return 0
  while IFS= read -r line || [[ -n $line ]]; do
    if [[ $line =~ $pattern ]]; then
      found+=("${BASH_REMATCH[2]}${BASH_REMATCH[3]}${BASH_REMATCH[4]}")
    fi
  done <"$file"
}

_pipechat_find_folders() {
  _pipechat_data=$HOME/.local/share/pipechat
  _pipechat_config=$HOME/.config/pipechat
  if [[ ${XDG_DATA_HOME-} == /* ]]; then _pipechat_data=$XDG_DATA_HOME/pipechat; fi
  if [[ ${XDG_CONFIG_HOME-} == /* ]]; then _pipechat_config=$XDG_CONFIG_HOME/pipechat; fi
  if [[ -n ${PIPECHAT_HOME-} ]]; then
    _pipechat_data=$PIPECHAT_HOME
    _pipechat_config=$PIPECHAT_HOME
  fi
}

# Adds to `found` the files that begin with $1, each behind an @, which readline takes for the
# beginning of a host's name.
_pipechat_at_files() {
  local path
  while IFS= read -r path; do
    if [[ -d $path ]]; then
      path+=/
      compopt -o nospace 2>/dev/null
    fi
    found+=("@$path")
  done < <(compgen -f -- "$1")
}

# Offers the words of $1 that begin with what is typed. A word with a colon is a kind of word.
_pipechat_offer() {
  local word quoted bare=$typed quote=''
  local -a found=()
  case $bare in
    \"* | \'*) quote=${bare:0:1} bare=${bare:1} ;;
    *) bare=${bare//\\/} ;;
  esac
  for word in $1; do
    case $word in
      :session) _pipechat_sessions "$bare" ;;
      :profile | :model) _pipechat_in_config "${word#:}" ;;
      :path) if [[ $bare == */* ]]; then compopt -o default 2>/dev/null; fi ;;
      :file) compopt -o default 2>/dev/null ;;
      :at-file) if [[ $bare == @* ]]; then _pipechat_at_files "${bare#@}"; fi ;;
      :none) ;;
      *) found+=("$word") ;;
    esac
  done
  for word in ${found[@]+"${found[@]}"}; do
    [[ $word == "$bare"* ]] || continue
    printf -v quoted %q "$word"
    if [[ -n $quote ]]; then
      # In quotes readline puts it as it is: what would end them, or mean something in them, cannot.
      case $word in *[\"\'\\\`\$]*) continue ;; esac
      quoted=$word
    fi
    quoted=$before$quoted
    COMPREPLY+=("${quoted#"$broken"}")
  done
}

_pipechat() {
  local _pipechat_data _pipechat_config IFS=$' \t\n'
  local -a words=()
  local i word rest trimmed typed before='' broken='' breaks=''
  local command='' commands options arguments wanted='' plain='' position=0
  COMPREPLY=()
  _pipechat_find_folders
  # bash breaks words at = and : and @ as well: what no blank parts is put together again.
  rest=${COMP_LINE:0:COMP_POINT}
  for ((i = 0; i <= COMP_CWORD; i++)); do
    trimmed=${rest#"${rest%%[![:blank:]]*}"}
    word=$trimmed
    if ((i < COMP_CWORD)); then word=${COMP_WORDS[i]}; fi
    if ((i)) && [[ $trimmed == "$rest" ]]; then
      words[${#words[@]} - 1]+=$word
    else
      words+=("$word")
    fi
    rest=${trimmed#"$word"}
  done
  typed=${words[${#words[@]} - 1]}
  for word in = : @; do
    if [[ $COMP_WORDBREAKS == *"$word"* ]]; then breaks+=$word; fi
  done
  if [[ -n $breaks && $typed != *[\"\']* ]]; then
    broken=${typed%"${typed##*["$breaks"]}"}
    broken=${broken%@} # it breaks a word, and yet is a part of what comes behind
  fi

  _pipechat_about ''
  for ((i = 1; i < ${#words[@]} - 1; i++)); do
    word=${words[i]}
    if [[ -n $wanted ]]; then
      wanted=''
    elif [[ -n $plain ]]; then
      ((position += 1))
    elif [[ $word == -- ]]; then
      plain=1
    elif [[ $word == -* ]]; then
      _pipechat_value "$command" "$word"
    elif [[ " $commands " == *" $word "* ]]; then
      command=${command:+$command }$word
      _pipechat_about "$command"
    else
      ((position += 1))
    fi
  done
  if [[ -n $wanted ]]; then
    _pipechat_offer "$wanted"
  elif [[ -z $plain && $typed == --*=* ]]; then
    _pipechat_value "$command" "${typed%%=*}"
    before=${typed%%=*}=
    typed=${typed#*=}
    _pipechat_offer "$wanted"
  elif [[ -z $plain && $typed == -* ]]; then
    _pipechat_offer "$options"
  elif [[ -n $commands ]]; then
    _pipechat_offer "$commands"
  else
    # shellcheck disable=SC2206  # because they are words
    local -a each=($arguments)
    if ((position >= ${#each[@]})) && [[ $arguments == *... ]]; then
      position=$((${#each[@]} - 1))
    fi
    if ((position < ${#each[@]})); then
      word=${each[position]%...}
      _pipechat_offer "${word//,/ }"
    fi
  fi
}

complete -F _pipechat pipechat
"""


def script_for(commands: Sequence[KnownCommand]) -> str:
    """The script."""
    return (
        "\n".join(["# Completion of pipechat in bash.", *_about(commands), *_values(commands)])
        + _FUNCTIONS
    )


def _about(commands: Sequence[KnownCommand]) -> Iterator[str]:
    yield "\n# Sets what there is of command $1."
    yield "_pipechat_about() {"
    yield "  case $1 in"
    for command in commands:
        flags = " ".join(flag for option in command.options for flag in option.flags)
        arguments = " ".join(
            _wanted(each.values).replace(" ", ",") + ("..." if each.repeats else "")
            for each in command.arguments
        )
        yield f"    '{command.path}')"
        yield f"      commands='{' '.join(command.commands)}'"
        yield f"      arguments='{arguments}'"
        yield f"      options='{flags}'"
        yield "      ;;"
    yield "  esac"
    yield "}"


def _values(commands: Sequence[KnownCommand]) -> Iterator[str]:
    """A row for each kind of values, with the options that take these."""
    rows: dict[str, list[str]] = {}
    for command in commands:
        for option in command.options:
            if option.values is not None:
                options = rows.setdefault(_wanted(option.values), [])
                options += [f"'{command.path}:{flag}'" for flag in option.flags]
    yield "\n# Sets `wanted` to what may be a value of option $2 of command $1, if it takes any."
    yield "_pipechat_value() {"
    yield "  case $1:$2 in"
    for wanted, options in rows.items():
        yield f"    {' | '.join(options)}) wanted='{wanted}' ;;"
    yield "    *) wanted='' ;;"
    yield "  esac"
    yield "}"


def _wanted(values: Values) -> str:
    """The words, and the kinds with a colon; a file beside a session is one by its path."""
    kinds = [f":{kind}" for kind in values.kinds]
    if ":session" in kinds:
        kinds = [kind.replace(":file", ":path") for kind in kinds]
    return " ".join([*values.words, *kinds]) or ":none"
