"""The option table: everything that can be set, each declared once. Pure.

A row makes an option of the commands that take it, its PIPECHAT_* variable, its name in
config.toml, its reader, its default and its help. A new option is a new row, and a use of it.
"""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

from pipechat.settings import values as v
from pipechat.settings.endpoint import read_endpoint
from pipechat.settings.headers import read_headers
from pipechat.settings.proxy import read_proxy

Shape = Literal["value", "switch", "list"]
ALL = ("ask", "chat", "batch run")
TALK = ("ask", "chat")
ASK = ("ask",)
BATCH = ("batch run",)
SUBMIT = ("batch submit",)
# The commands that speak to the provider's own batch engine.
PROVIDER = (*SUBMIT, "batch status", "batch fetch", "batch cancel")
MODELS = ("models",)
EVERY = (*ALL, *PROVIDER, *MODELS)
LOOKING = (*EVERY, "doctor")
ASKING = (*ALL, *SUBMIT)
ITEMS = (*BATCH, *SUBMIT)
ASK_AND_BATCH = ("ask", *ITEMS)


class Option(NamedTuple):
    """One thing that can be set.

    `name` is that of the value, and of the setting in config.toml where `in_file`. `flags`: the
    option's names, the long one first; none: only the file has it. `text`: makes, of what is
    typed, what `read` takes. `given`: what a switch sets when it is given. `commands`: which take
    it. `group`: under which heading the help has it. `in_environment`: whether it has a variable.
    `needs`: the option that it changes; as a flag it is wrong without that, and elsewhere it waits
    for it. `stands_for`: the option in whose place it stands. `named_variable`: its variable where
    it has no flag to be named by.
    """

    name: str
    read: v.Reader
    default: Any = None
    flags: tuple[str, ...] = ()
    help: str = ""
    metavar: str = ""
    group: str = "Output"
    commands: tuple[str, ...] = ALL
    shape: Shape = "value"
    in_file: bool = True
    in_environment: bool = True
    text: Callable[[str], Any] = str
    given: bool = True
    needs: str = ""
    stands_for: str = ""
    named_variable: str = ""

    @property
    def variable(self) -> str:
        """Its variable in the environment, or "" where it has none."""
        if self.named_variable:
            return self.named_variable
        if not (self.flags and self.in_environment):
            return ""
        return "PIPECHAT_" + self.flags[0][2:].upper().replace("-", "_")


def _value(name: str, read: v.Reader, *flags: str, **more: Any) -> Option:
    return Option(name, read, flags=flags, **more)


def _switch(name: str, *flags: str, **more: Any) -> Option:
    return Option(
        name,
        v.switch,
        **{"default": False, "flags": flags, "shape": "switch", "text": v.switch_text, **more},
    )


def _budgets(value: object) -> Any:
    """A list of budgets, each `5usd/day` or such; `none` takes back those before it."""
    from pipechat.settings.budget import read_budgets  # few have any

    return read_budgets(v.texts(value))


_NUMBER = {"text": v.number_text}
_QUESTION, _SESSION, _MODEL = "Question", "Session", "Model"
_LIMITS, _NETWORK, _OUTPUT, _ANSWER = "Limits", "Network", "Output", "Answer"
_BATCH, _CHAT = "Batch", "Chat"

# 600 s bound a cron job; a model that thinks for two minutes without a word is taken for stuck.
OPTIONS = (
    _value("session", v.text, "--session", metavar="NAME", group=_SESSION, in_file=False,
           commands=TALK, help="Keep the turn in this session, and send its last turns along."),
    _switch("continue_last", "--continue", "-c", group=_SESSION, commands=TALK, in_file=False,
            in_environment=False, stands_for="session", help="Go on with the session used last."),
    _switch("existing", "--existing", group=_SESSION, commands=TALK, needs="session",
            help="Begin no new session: where it does not exist, exit 9."),
    _value("last_turns", v.whole_number(0), "--last-turns", default=20, metavar="N",
           group=_SESSION, **_NUMBER, help="Send at most the last N complete turns along [20]."),
    _value("context_tokens", v.whole_number(0), "--context-tokens", metavar="N", group=_SESSION,
           **_NUMBER, help="Send earlier turns of at most N tokens along."),
    _value("if_busy", v.one_of("wait", "fail"), "--if-busy", metavar="wait|fail", group=_SESSION,
           commands=ASK, in_file=False, needs="session",
           help="Ask alone: where the session is in use, wait or fail."),
    # Of one question each: a variable would give many questions one key.
    _value("once", v.once_key, "--once", metavar="KEY|auto", group=_SESSION, commands=ASK,
           in_file=False, in_environment=False, needs="session",
           help="Ask once: a complete turn of this key in the session is the answer. "
                "auto: the key is a hash of what is asked."),
    _switch("once_any", "--once-any", group=_SESSION, commands=ASK, in_file=False,
            in_environment=False, needs="once",
            help="With --once: answer from the turn of the key, whatever it was asked."),
    _value("model", v.model_name, "--model", "-m", default="gpt-5.4-mini", metavar="MODEL",
           group=_MODEL, commands=(*ASKING, "doctor"), help="The model [gpt-5.4-mini]."),
    _value("fallback", v.model_names, "--fallback", default=(), metavar="PROFILE|MODEL",
           group=_MODEL, shape="list", text=v.lines_text, commands=TALK,
           help="Ask this profile, else this model, where all tries failed for now. Repeatable."),
    _value("api", v.one_of("auto", "chat", "responses"), "--api", default="auto",
           metavar="auto|chat|responses", group=_MODEL,
           help="Chat Completions, the Responses API, or what the server asks for [auto]."),
    _value("temperature", v.number(0), "--temperature", "-t", metavar="T", group=_MODEL,
           **_NUMBER, commands=ASKING, help="Sent only where given."),
    _value("effort", v.some_text, "--effort", metavar="LEVEL", group=_MODEL, commands=ASKING,
           help="How much the model thinks: low, medium, high; sent only where given."),
    _value("max_tokens", v.whole_number(1), "--max-tokens", metavar="N", group=_MODEL, **_NUMBER,
           commands=ASKING, help="The longest answer, in tokens."),
    _value("options", v.fields, "--option", "-O", metavar="KEY=VALUE", group=_MODEL,
           shape="list", text=v.fields_text,
           commands=ASKING,
           help="A further field of the request; JSON is sent as JSON. Repeatable."),
    _value("system", v.text, "--system", metavar="TEXT|@FILE", group=_QUESTION,
           commands=ASKING,
           help="The system message, or @FILE; a session keeps it until another is given."),
    _value("system_role", v.one_of("system", "developer", "user"), "--system-role",
           default="system", metavar="system|developer|user", group=_QUESTION, commands=ASKING,
           help="Whose the system message is, for models that know no system role [system]."),
    _value("template", v.text, "--template", metavar="TEXT|@FILE", group=_QUESTION,
           commands=ASK_AND_BATCH,
           help="The question as a Jinja template, or @FILE; {{ input }} is stdin and the words."),
    _value("variables", v.variables, "--var", default={}, metavar="NAME=VALUE", group=_QUESTION,
           shape="list", text=v.lines_text, commands=ASK_AND_BATCH, in_file=False, needs="template",
           help="{{ NAME }} of the template. Repeatable."),
    _value("files", v.paths, "--file", "-f", default=(), metavar="FILE", group=_QUESTION,
           shape="list", text=v.lines_text, commands=ASK, in_file=False,
           help="Send a text, picture or PDF along; `-`: stdin as a part of its own. Repeatable."),
    _switch("keep_files", "--keep-files", group=_QUESTION, commands=ASK, needs="session",
            help="Keep text files in the session, so that later turns send them again."),
    _value("schema", v.some_text, "--schema", metavar="FILE|JSON|SHORT", group=_ANSWER,
           commands=ASK_AND_BATCH, in_file=False,
           help="The answer must match: JSON Schema, or 'name, age int, tags [str], note str?'."),
    _value("schema_mode", v.one_of("auto", "strict", "json", "prompt"), "--schema-mode",
           default="auto", metavar="auto|strict|json|prompt", group=_ANSWER,
           commands=ASK_AND_BATCH, needs="schema",
           help="How the schema is asked for; auto: whichever the server takes [auto]."),
    _value("schema_retries", v.whole_number(0), "--schema-retries", default=0, metavar="N",
           group=_ANSWER, commands=("ask", *BATCH), needs="schema", **_NUMBER,
           help="How often to ask again, told what is wrong, where an answer does not match [0]."),
    _value("extract", v.one_of("code", "json"), "--extract", metavar="code|json", group=_ANSWER,
           commands=ASK_AND_BATCH, in_file=False,
           help="Write only the first fenced block, or the first JSON value, of the answer."),
    _value("output_format", v.one_of("text", "json", "ndjson", aliases={"stream-json": "ndjson"}),
           "--output-format", default="text", metavar="text|json|ndjson", group=_OUTPUT,
           commands=ASK,
           help="json: the last event alone; ndjson, stream-json: each event a line [text]."),
    _value("output", v.path, "--output", "-o", metavar="FILE", group=_OUTPUT, commands=ASK,
           in_file=False, help="Write to FILE, which appears only when the answer is whole."),
    _switch("stream", "--no-stream", default=True, given=False, text=v.unless_text, group=_MODEL,
            commands=ASK, help="Ask for the whole answer at once."),
    _switch("no_stdin", "--no-stdin", group=_QUESTION, commands=ASK, in_file=False,
            help="Leave stdin alone, for `while read` loops."),
    _switch("dry_run", "--dry-run", group=_OUTPUT, commands=ASK, in_file=False,
            help="Print the request as JSON; send nothing."),
    _value("timeout", v.seconds, "--timeout", default=600.0, metavar="S", group=_LIMITS, **_NUMBER,
           commands=EVERY,
           help="Seconds (or 90s, 5m) for the whole turn, retries included; 0: none "
                "[600; none where the provider runs the batch]."),
    _value("first_token_timeout", v.seconds, "--first-token-timeout", metavar="S", group=_LIMITS,
           **_NUMBER, help="Seconds until the first text; 0: none [none]."),
    _value("idle_timeout", v.seconds, "--idle-timeout", default=120.0, metavar="S", group=_LIMITS,
           **_NUMBER, commands=EVERY, help="Seconds between two pieces of data; 0: none [120]."),
    _value("retries", v.whole_number(0), "--retries", default=2, metavar="N", group=_LIMITS,
           **_NUMBER, commands=EVERY, help="How often to try again before the first text [2]."),
    _switch("allow_truncated", "--allow-truncated", group=_OUTPUT,
            commands=(*ALL, "batch fetch"), help="Take an answer cut by the token limit as whole."),
    _value("proxy", read_proxy, "--proxy", metavar="URL", group=_NETWORK,
           commands=LOOKING, help="http://, https://, socks5:// or socks5h://HOST:PORT."),
    _value("base_url", read_endpoint, "--base-url", metavar="URL", group=_NETWORK,
           default=read_endpoint("https://api.openai.com/v1"), commands=LOOKING,
           help="The endpoint, up to /v1: http://, https:// or unix:///PATH.sock."),
    _value("headers", read_headers, "--header", "-H", metavar="NAME: VALUE", group=_NETWORK,
           shape="list", text=v.lines_text, commands=LOOKING,
           help="A further header of every request; the value may be @env:NAME or @file:PATH. "
                "Repeatable."),
    _value("cacert", v.path, "--cacert", metavar="FILE", group=_NETWORK, commands=LOOKING,
           help="Trust the certificate authorities in FILE (PEM)."),
    _value("client_cert", v.path, "--cert", metavar="FILE", group=_NETWORK, commands=LOOKING,
           help="Your own certificate (PEM), for a server that asks for one."),
    # No variable: it would be taken for that of the API's key.
    _value("client_key", v.path, "--key", metavar="FILE", group=_NETWORK, commands=LOOKING,
           needs="client_cert", in_environment=False,
           help="The private key of --cert, where it is not in that file."),
    _value("budget", _budgets, "--budget", default=(), metavar="AMOUNT/PERIOD", group=_LIMITS,
           shape="list", text=v.lines_text, commands=ASKING,
           help="Send nothing that could take more than 5usd/day, 200000tok/month, 20usd/session; "
                "`none`: no budget. Repeatable."),
    _switch("insecure_http", "--insecure-http", group=_NETWORK,
            commands=LOOKING, help="Let the key go over http:// to another machine."),
    _value("profile", v.profile_name, "--profile", metavar="NAME", group=_NETWORK,
           commands=LOOKING, help="Settings from [profiles.NAME] of config.toml."),
    _switch("offline", "--offline", group=_NETWORK,
            help="Answer inside the process, with no network and no key."),
    _value("record", v.path, "--record", metavar="FILE", group=_NETWORK, in_file=False,
           help="Add every exchange with the server to FILE, without key and host."),
    _value("replay", v.path, "--replay", metavar="FILE", group=_NETWORK, in_file=False,
           help="Answer from FILE, with no network and no key. With --record: what is in it."),
    _switch("replay_pace", "--replay-pace", group=_NETWORK, in_file=False, needs="replay",
            help="Replay no faster than it was recorded."),
    _switch("render", "--render", group=_OUTPUT, commands=TALK,
            help="On a terminal, format the answer's Markdown, block by block."),
    _switch("raw", "--raw", group=_OUTPUT, in_file=False,
            commands=TALK, help="Control characters go to a terminal as they are."),
    _switch("lossy", "--lossy", group=_QUESTION, in_file=False,
            commands=ASKING, help="Replace input bytes that are not UTF-8 instead of failing."),
    _switch("quiet", "--quiet", "-q", group=_OUTPUT, commands=LOOKING,
            help="No warnings on stderr, only errors."),
    _switch("verbose", "--verbose", "-v", group=_OUTPUT, in_file=False,
            commands=LOOKING, help="Tell on stderr what goes on; tracebacks for bugs."),
    _switch("usage", "--usage", group=_OUTPUT,
            commands=TALK, help="Tell tokens and times on stderr, after the answer."),
    _value("batch_output", v.text, "--output", "-o", metavar="OUT|-", group=_BATCH,
           commands=ITEMS, in_file=False, in_environment=False,
           help="Where the records go: a session file, or `-`, which is stdout [-]."),
    _value("input_format", v.one_of("ndjson", "csv", "tsv", "lines"), "--input-format",
           metavar="ndjson|csv|tsv|lines", group=_BATCH, commands=ITEMS,
           help="What IN is made of [by its name; else ndjson]."),
    _value("jobs", v.whole_number(1, 10_000), "--jobs", "-j", default=16, metavar="N",
           group=_BATCH, commands=BATCH, **_NUMBER, help="How many are asked at once [16]."),
    _value("rpm", v.number(0), "--rpm", metavar="N", group=_BATCH, commands=BATCH, **_NUMBER,
           help="At most N requests a minute; 0: any number [0]."),
    _value("tpm", v.number(0), "--tpm", metavar="N", group=_BATCH, commands=BATCH, **_NUMBER,
           help="About N tokens a minute at most; 0: any number [0]."),
    _switch("ordered", "--ordered", group=_BATCH, commands=BATCH,
            help="Records in the order of the input."),
    _switch("fresh", "--fresh", group=_BATCH, commands=ITEMS, in_file=False,
            help="Start over: forget what OUT holds."),
    _value("retry_failed", v.yes_or_no, "--retry-failed", default=True, metavar="yes|no",
           group=_BATCH, commands=ITEMS,
           help="Whether items that failed in OUT are asked again [yes]."),
    _value("grace", v.seconds, "--grace", default=10.0, metavar="S", group=_BATCH,
           commands=BATCH, **_NUMBER,
           help="Seconds that what is in flight may take when the run is stopped [10]."),
    _value("max_failures", v.count_or_share, "--max-failures", metavar="N|P%", group=_BATCH,
           commands=BATCH, text=str,
           help="Stop when more than N items, or more than P % of 20 and more, have failed."),
    _switch("events", "--events", group=_BATCH, commands=BATCH, in_file=False,
            help="Write the events of each item to stdout, with its id, instead of records."),
    _switch("batch_stream", "--stream", group=_BATCH, commands=BATCH,
            help="Let each answer stream; else it is asked for at once."),
    _value("workers", v.whole_number(1, 64), "--workers", default=0, metavar="N", group=_BATCH,
           commands=BATCH, **_NUMBER,
           help="Processes that share the work [one; another where a core is full, while cores are "
           "left]."),
    _switch("forget", "--forget", group=_BATCH, commands=("batch cancel",), in_file=False,
            in_environment=False,
            help="Cancel nothing: let go of all that was submitted, whatever became of it."),
    _switch("wait", "--wait", group=_BATCH, commands=("batch fetch",), in_file=False,
            help="Wait until every part has come to its end."),
    _value("engine", v.one_of("local", "ray"), "--engine", default="local", metavar="local|ray",
           group=_BATCH, commands=BATCH,
           help="Who asks: this machine, or actors on the nodes of a Ray cluster [local]."),
    _value("ray_address", v.text, "--ray-address", metavar="HOST:PORT|auto", group=_BATCH,
           commands=BATCH, help="The cluster of --engine ray; else one of its own, here."),
    _value("summary_format", v.one_of("text", "json"), "--output-format", default="text",
           metavar="text|json", group=_BATCH, commands=(*BATCH, *PROVIDER), in_file=False,
           in_environment=False, help="json: what came of it as JSON on stdout; of `run` where "
           "OUT is a file [text]."),
    _value("list_format", v.one_of("text", "json", "ndjson"), "--output-format", default="text",
           metavar="text|json|ndjson", group=_OUTPUT, commands=MODELS, in_file=False,
           in_environment=False, help="json: one array; ndjson: one object a line [text]."),
    Option("api_key", v.text, group=_NETWORK, help="The key. The file must have mode 0600."),
    Option("api_key_command", v.text, group=_NETWORK, help="A command that prints the key."),
    Option("auth", v.one_of("auto", "bearer", "api-key"), default="auto", group=_NETWORK,
           help="How the key goes out: a bearer token, or Azure's api-key header."),
    Option("api_version", v.model_name, group=_NETWORK,
           help="The api-version that goes with every request."),
    Option("max_input_mib", v.number(0, 1e6), default=16, group=_QUESTION,
           help="The most of stdin, of @FILE, and of a line of `chat`, in MiB."),
    Option("max_file_mib", v.number(0, 1e6), default=16, group=_QUESTION,
           help="The most that is read from each file of -f, in MiB."),
    Option("user_prompt", v.text, group=_CHAT, help="What stands before a question."),
    Option("assistant_prompt", v.text, group=_CHAT, help="What stands before an answer."),
    Option("chat_history", v.switch, default=True, group=_CHAT,
           help="Whether questions are kept for the next chat to recall."),
    Option("budget_max_tokens", v.whole_number(1), default=4096, group=_LIMITS,
           help="What a budget reckons an answer at, in tokens, where no --max-tokens limits it."),
    _switch("ledger", default=True, group=_LIMITS, named_variable="PIPECHAT_LEDGER",
            help="Whether each request that is sent leaves a line, without its content, in ledger/ "
                 "beside the sessions."),
    Option("prices", v.prices, default={}, group=_LIMITS,
           help="What models cost, in USD for a million tokens."),
    Option("whole_reasons", v.words, default=(), group=_ANSWER,
           help="Finish reasons of whole answers that nobody else sends."),
)  # fmt: skip

BY_NAME = {option.name: option for option in OPTIONS}


def taken_by(command: str) -> list[Option]:
    """The options of a command, in the order of the table."""
    return [option for option in OPTIONS if option.flags and command in option.commands]
