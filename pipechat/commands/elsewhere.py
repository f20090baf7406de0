"""What other programs call it: names that people bring from llm, curl, git, grep and gh, and what
they are here. Where a name stands here, nothing is guessed by its letters."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from shlex import join

_KEPT = "A turn is kept only with --session."
_KEY = "The key is never an option: set OPENAI_API_KEY, or api_key_command in config.toml."
_WORDS = "The question is an argument of its own, or stdin."
_JSON = "Use --output-format json."
_STREAM = "An answer is streamed unless --no-stream is said."
_CSV = "Use --output-format csv."
_WORD = r"With -E, \b stands where a word begins or ends."
_AUTHORITY = "--cacert FILE trusts an authority of your own."

# By the command that was asked for it.
_COMMANDS: Mapping[str, Mapping[str, str]] = {
    "pipechat": {
        "help": "pipechat --help",
        "version": "pipechat --version",
        "logs": "pipechat history list",
        "log": "pipechat history list",
        **dict.fromkeys(("session", "sessions"), "pipechat history list"),
        "prompt": "pipechat ask QUESTION",
        "repl": "pipechat chat",
        "shell": "pipechat chat",
        **dict.fromkeys(("settings", "profiles"), "pipechat config show"),
        **dict.fromkeys(("setup", "configure"), "pipechat config init"),
        **dict.fromkeys(("key", "keys", "login", "auth", "check", "ping"), "pipechat doctor"),
        **dict.fromkeys(("budget", "budgets"), "pipechat usage --budget"),
        **dict.fromkeys(("cost", "costs", "stats", "ledger"), "pipechat usage"),
        "completions": "pipechat completion bash|zsh|fish",
    },
    "history": {
        **dict.fromkeys(("rm", "remove", "del", "drop", "clear"), "pipechat history delete"),
        **dict.fromkeys(("ls", "all"), "pipechat history list"),
        **dict.fromkeys(("mv", "move"), "pipechat history rename"),
        **dict.fromkeys(("cp", "copy", "branch"), "pipechat history fork"),
        **dict.fromkeys(("log", "cat", "view", "get", "dump"), "pipechat history show"),
        **dict.fromkeys(("save", "backup"), "pipechat history export"),
        **dict.fromkeys(("load", "restore"), "pipechat history import"),
        **dict.fromkeys(("grep", "find", "rg"), "pipechat history search"),
        **dict.fromkeys(("gc", "clean", "expire"), "pipechat history prune"),
        **dict.fromkeys(("fsck", "check"), "pipechat history repair"),
        "where": "pipechat history path",
    },
    "config": {
        **dict.fromkeys(("list", "ls", "get", "cat", "view"), "pipechat config show"),
        **dict.fromkeys(("set", "edit", "add", "unset"), '$EDITOR "$(pipechat config path)"'),
        **dict.fromkeys(("new", "create"), "pipechat config init"),
        "where": "pipechat config path",
    },
    "batch": {
        **dict.fromkeys(("start", "ask", "resume"), "pipechat batch run"),
        **dict.fromkeys(("get", "download", "results"), "pipechat batch fetch"),
        **dict.fromkeys(("create", "send"), "pipechat batch submit"),
        **dict.fromkeys(("list", "ls"), "pipechat batch status"),
    },
}
# Behind a name of the first kind they are no beginning of a question: `llm logs list`.
_VERBS = frozenset(("list", "ls", "show", "get", "set", "path", "status"))
# A word that is no command of the group goes to this one, as at the top to `ask`.
_TAKES_WORDS = {"batch": "batch run", "history": "history show"}

# Options here: the first that the command has is named.
_SAME: Mapping[str, Sequence[str]] = {
    **dict.fromkeys(("-a", "--attachment", "--attach", "--image", "--input"), ("--file",)),
    **dict.fromkeys(("-p", "--param"), ("--var",)),
    **dict.fromkeys(("--silent",), ("--quiet",)),
    **dict.fromkeys(("--debug", "--trace"), ("--verbose",)),
    **dict.fromkeys(("--max-time", "--connect-timeout"), ("--timeout",)),
    **dict.fromkeys(("--url", "--host", "--endpoint", "--api-base"), ("--base-url",)),
    **dict.fromkeys(("-x",), ("--proxy",)),
    **dict.fromkeys(("--cid", "--conversation"), ("--session",)),
    **dict.fromkeys(("-r", "--resume"), ("--continue",)),
    **dict.fromkeys(("--parallel", "--concurrency", "--threads"), ("--jobs",)),
    **dict.fromkeys(("--limit", "--count", "-l"), ("--last",)),
    **dict.fromkeys(("--format", "--fmt"), ("--output-format", "--format")),
    "--output-format": ("--format",),
    **dict.fromkeys(("--markdown", "--md"), ("--render",)),
    "-s": ("--system",),
    **dict.fromkeys(("-A", "-B", "--after-context", "--before-context"), ("--context",)),
    **dict.fromkeys(("--day", "--month", "--model", "--batch", "--group-by"), ("--by",)),
    **dict.fromkeys(("-u", "--stats", "--tokens", "--time", "--timing", "--timings"), ("--usage",)),
    "--temp": ("--temperature",),
    "-n": ("--last", "--last-turns"),
}
_SAID: Mapping[str, str] = {
    **dict.fromkeys(("--key", "--api-key", "--token", "--api_key"), _KEY),
    **dict.fromkeys(("--prompt", "--question", "--message", "-d", "--data"), _WORDS),
    **dict.fromkeys(("--no-log", "--no-session", "--no-history"), _KEPT),
    **dict.fromkeys(("--json", "-j"), _JSON),
    "--csv": _CSV,
    "--stream": _STREAM,
    **dict.fromkeys(("-w", "--word-regexp"), _WORD),
    **dict.fromkeys(("--ndjson", "--jsonl"), "Use --output-format ndjson."),
    **dict.fromkeys(("--seed", "--top-p", "--top_p", "--stop"), "Use -O, as in -O seed=7."),
    **dict.fromkeys(("--color", "--no-color"), "NO_COLOR=1 leaves colors out."),
    **dict.fromkeys(("-k", "--insecure"), _AUTHORITY),
    "-V": "Use pipechat --version.",
    "--version": "Use pipechat --version.",
    "--help-env": "Use pipechat --help-env.",
}
# What is said only of commands that have this option.
_NEEDS = {
    _JSON: "--output-format",
    _CSV: "--plot",
    _STREAM: "--no-stream",
    _WORD: "--regexp",
    _KEPT: "--session",
    _AUTHORITY: "--cacert",
    "Use -O, as in -O seed=7.": "--option",
}

_TOO_MANY = {
    "pipechat chat": "To ask once: pipechat ask QUESTION.",
    "pipechat batch run": "-o OUT names where the records go.",
    "pipechat batch submit": "-o OUT names where the records are to go.",
    "pipechat history list": "Of one session: pipechat history show NAME.",
    "pipechat history show": "It shows one; pipechat history search looks through several.",
    "pipechat history export": "It writes one; -o FILE names where it goes.",
    "pipechat history import": "It reads one FILE.",
    "pipechat models": "Of some models: pipechat models | grep NAME.",
    "pipechat config show": "Of one setting: pipechat config show | grep NAME.",
}


def command_here(path: str, words: Sequence[str], inner: Collection[str]) -> str:
    """What `words[0]`, which is no command of `path`, is called here; "" where it is nothing.

    Args:
        path: `pipechat`, or a group of commands: `pipechat history`.
        words: what came behind it, options left out.
        inner: the commands that there are.
    """
    name, *more = words
    if name == "help" and all(word in inner for word in more[:1]):
        return join([*path.split(), *more, "--help"])
    group = path.removeprefix("pipechat ")
    here = _COMMANDS.get(group, {}).get(name, "")
    if group != "pipechat" or all(word.isdecimal() for word in more):
        return here
    if name == "prompt":
        return join(["pipechat", "ask", *more])
    if more[0] not in _VERBS:
        return ""  # a question may begin with any word
    if here == _COMMANDS["pipechat"]["logs"]:
        return _COMMANDS["history"].get(more[0], f"pipechat history {more[0]}")
    return here


def takes_words(path: str) -> str:
    """The command of a group that was meant where a word is no command; "" where none is."""
    return _TAKES_WORDS.get(path.removeprefix("pipechat "), "")


def option_here(option: str, known: Collection[str]) -> str:
    """What an option that there is not is called here; "" where it is nothing.

    Args:
        known: the options of the command.
    """
    said = _SAID.get(option, "")
    if said and _NEEDS.get(said, said) in {said, *known}:
        return said
    same = next((name for name in _SAME.get(option, ()) if name in known), "")
    return f"Did you mean {same!r}?" if same else ""


def too_many_words(path: str) -> str:
    """What to try where a command was given more words than it takes."""
    return _TOO_MANY.get(path, "")
