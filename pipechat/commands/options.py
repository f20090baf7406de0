"""The options that `ask` and `chat` share, as types, and what becomes of them.

Each can be given in the environment as well, as PIPECHAT_NAME.
"""

from typing import Annotated, Any

import typer

from pipechat import jsonl
from pipechat.errors import UsageError


def option(*names: str, help: str, metavar: str | None = None, env: str | None = None) -> Any:
    """A typer option with its PIPECHAT_… variable, made of its long name unless given."""
    long_name = next(name for name in names if name.startswith("--"))
    variable = env or "PIPECHAT_" + long_name[2:].upper().replace("-", "_")
    return typer.Option(*names, help=help, metavar=metavar, envvar=variable, show_default=False)


Session = Annotated[
    str | None, option("--session", help="Keep the turn in this session.", metavar="NAME")
]
LastTurns = Annotated[
    int | None,
    option("--last-turns", help="Send at most the last N complete turns along [20].", metavar="N"),
]
ContextTokens = Annotated[
    int | None,
    option("--context-tokens", help="Send earlier turns of at most N tokens along.", metavar="N"),
]
Model = Annotated[
    str | None, option("--model", "-m", help="The model [gpt-5.4-mini].", metavar="MODEL")
]
Temperature = Annotated[
    float | None, option("--temperature", "-t", help="Sent only where given.", metavar="T")
]
MaxTokens = Annotated[
    int | None, option("--max-tokens", help="The longest answer, in tokens.", metavar="N")
]
Options = Annotated[
    list[str] | None,
    option(
        "--option",
        "-O",
        help="A further field of the request; a value that is JSON is sent as JSON. Repeatable.",
        metavar="KEY=VALUE",
    ),
]
System = Annotated[
    str | None,
    option(
        "--system",
        help="The system message, or @FILE; a session keeps it until another is given.",
        metavar="TEXT|@FILE",
    ),
]
AllowTruncated = Annotated[
    bool, option("--allow-truncated", help="Take an answer cut by the token limit as whole.")
]
Timeout = Annotated[
    float | None,
    option(
        "--timeout",
        help="Seconds for the whole turn, retries included; 0: none [600].",
        metavar="S",
    ),
]
FirstTokenTimeout = Annotated[
    float | None,
    option(
        "--first-token-timeout", help="Seconds until the first text; 0: none [none].", metavar="S"
    ),
]
IdleTimeout = Annotated[
    float | None,
    option(
        "--idle-timeout", help="Seconds between two pieces of data; 0: none [120].", metavar="S"
    ),
]
Retries = Annotated[
    int | None,
    option("--retries", help="How often to try again before the first text [2].", metavar="N"),
]
IfBusy = Annotated[
    str | None,
    option(
        "--if-busy",
        help="Ask alone: where the session is in use, wait or fail.",
        metavar="wait|fail",
    ),
]
Proxy = Annotated[
    str | None,
    option("--proxy", help="http://, https://, socks5:// or socks5h://HOST:PORT.", metavar="URL"),
]
BaseUrl = Annotated[
    str | None, option("--base-url", help="The endpoint, up to /v1.", metavar="URL")
]
InsecureHttp = Annotated[
    bool, option("--insecure-http", help="Let the key go over http:// to another machine.")
]
Profile = Annotated[
    str | None,
    option("--profile", help="Settings from [profiles.NAME] of config.toml.", metavar="NAME"),
]
Offline = Annotated[
    bool, option("--offline", help="Answer inside the process, with no network and no key.")
]
Raw = Annotated[bool, option("--raw", help="Control characters go to a terminal as they are.")]
Lossy = Annotated[
    bool, option("--lossy", help="Replace input bytes that are not UTF-8 instead of failing.")
]
Quiet = Annotated[bool, option("--quiet", "-q", help="No warnings on stderr, only errors.")]
Verbose = Annotated[
    bool, option("--verbose", "-v", help="Tell on stderr what goes on; tracebacks for bugs.")
]
ShowUsage = Annotated[
    bool, option("--usage", help="Tell tokens and times on stderr, after the answer.")
]


def request_options(pairs: list[str] | None) -> dict[str, Any]:
    """KEY=VALUE pairs as fields of the request.

    Raises:
        UsageError: `bad_option`: no `=`, or a key that pipechat sets itself.
    """
    options: dict[str, Any] = {}
    for pair in pairs or ():
        key, equals, value = pair.partition("=")
        if not (key and equals):
            raise UsageError("bad_option", f"-O {pair}: not KEY=VALUE")
        if key in ("messages", "model", "stream", "stream_options"):
            raise UsageError("bad_option", f"-O {key}: pipechat sets this itself")
        try:
            options[key] = jsonl.loads(value)
        except ValueError:
            options[key] = value
    return options
