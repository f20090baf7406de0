"""What a newcomer types by mistake is refused, and told how to say it: kind by kind, in text and
in ndjson, with the same exit code; nothing is sent."""

import json
from pathlib import Path

import pytest

from pipechat.errors import ExitCode
from tests.program import PLANTED_KEY, Program, Result
from tests.pseudo_terminal import AtTerminal
from tests.servers import (
    ChatServer,
    RawServer,
    RefusedPort,
    Reply,
    Wait,
    answer,
    error_reply,
    http_reply,
)

pytestmark = pytest.mark.in_process

FORMATS = ("text", "ndjson")


def refused(
    program: Program,
    *arguments: str,
    input: bytes = b"",
    env: dict[str, str | None] | None = None,
    code: str = "bad_option",
    status: int = 2,
) -> str:
    """What stderr says of a command line that is refused alike in every format."""
    said = []
    for output_format in FORMATS:
        more = () if output_format == "text" else ("--output-format", output_format)
        result = program.run("ask", *more, *arguments, input=input, env=env, events=False)
        assert (result.status, result.code) == (status, code), result.stderr
        if output_format == "ndjson" and code != "usage":
            assert result.events[-1]["code"] == code
        else:
            assert result.stdout == b""
        said.append(result.stderr.decode())
    assert said[0] == said[1]
    assert said[0].count("\n") == 1
    return said[0]


def question(result: Result) -> str:
    """The question of a request that --dry-run shows."""
    assert result.status == 0, result.stderr
    content: str = json.loads(result.stdout)["messages"][-1]["content"]
    return content


UNREAD = [
    "Translate {input}",
    "Translate { input }",
    "Say that the input is gone",
    "{# input #}Hello",
    '{{ "input" }}',
    "{% if false %}{{ input }}{% endif %}Hello",
    "{% set input = 3 %}{{ input }}",
    "{% for input in [1, 2] %}{{ input }}{% endfor %}",
]


@pytest.mark.parametrize("template", UNREAD)
def test_input_that_a_template_only_seems_to_take_is_never_dropped(
    program: Program, template: str
) -> None:
    ask = ("--offline", "--template", template)
    by_words = refused(program, *ask, "my", "words")
    assert refused(program, *ask, input=b"my data") == by_words
    assert "input" in by_words
    assert ("Did you mean {{ input }}?" in by_words) == ("{" in template[:12][9:])


@pytest.mark.parametrize(
    ("template", "asked"),
    [
        ("{{ input }}", "words"),
        ("{% if input %}There is some.{% endif %}", "There is some."),
        ("{% set text = input %}{{ text }}", "words"),
        ("{% set input = input|upper %}{{ input }}", "WORDS"),
        ("{{ input|length }} letters", "5 letters"),
        ("{% for word in input.split() %}<{{ word }}>{% endfor %}", "<words>"),
        ("{% if input is defined %}It is.{% endif %}", "It is."),
        ("{{ range(2)|join }} {{ loop is defined }} {{ input }}", "01 False words"),
    ],
)
def test_a_template_takes_its_input_in_any_way_that_reads_it(
    program: Program, template: str, asked: str
) -> None:
    assert question(program.run("ask", "--dry-run", "--template", template, "words")) == asked


@pytest.mark.parametrize(
    "template", ["Hello {too}", "Hello", "{# too #}Hello", "{% set too = 1 %}{{ too }}"]
)
def test_a_variable_that_no_template_reads_is_named(program: Program, template: str) -> None:
    ask = ("--offline", "--template", template, "--var", "too=Dutch")
    said = refused(program, *ask)
    assert "--var too" in said
    assert ("Did you mean {{ too }}?" in said) == ("{too}" in template)


def test_a_variable_of_a_branch_that_is_not_taken_is_no_mistake(program: Program) -> None:
    template = "Hello{% if formal %}, {{ title }}{% endif %}"
    ask = ("ask", "--dry-run", "--template", template, "--var", "formal=", "--var", "title=Dr")
    assert question(program.run(*ask)) == "Hello"


@pytest.mark.parametrize(
    ("schema", "at", "instead"),
    [
        ("name: str, age: int", 7, "name str"),
        ("name, age:int", 11, "age int"),
        ("name, age: integer", 12, "age int"),
        ("name: string", 7, "name str"),
        ("ok: boolean?", 5, "ok bool?"),
        ("when: date", 7, "when date"),
        ("note: str?", 7, "note str?"),
        ("note?: str", 8, "note str?"),
        ("tags: [str]", 7, "tags […]"),
        ("who: {name, age int}", 6, "who {…}"),
        ("size: low|high", 7, "size low|high"),
        ("who {name: str}", 12, "name str"),
        ("all [{n: num}]", 10, "n num"),
    ],
)
def test_a_type_where_the_description_stands_is_no_description(
    program: Program, schema: str, at: int, instead: str
) -> None:
    said = refused(program, "--offline", "--schema", schema, "hi", code="bad_schema")
    assert f"character {at}: " in said
    assert f"Write `{instead}`." in said


@pytest.mark.parametrize(
    "schema", ['age: "int"', "age int: int", "when date: time", "a: an int", "note str?: str"]
)
def test_a_word_that_is_meant_as_a_description_is_one(program: Program, schema: str) -> None:
    result = program.run("ask", "--dry-run", "--schema", schema, "hi")
    assert (result.status, b'"description":' in result.stdout) == (0, True)


@pytest.mark.parametrize("schema", ["name, name", "a int, b, a", "x {y, z, y}"])
def test_a_field_that_is_said_twice_is_told_so(program: Program, schema: str) -> None:
    said = refused(program, "--offline", "--schema", schema, "hi", code="bad_schema")
    assert f"`{schema.strip('}').split()[-1]}` is said twice" in said


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of files to stand in."""
    here = tmp_path / "here"
    (here / "sub").mkdir(parents=True)
    for name in ("a.txt", "b.txt", "c d.txt", "sub/plain", "notes"):
        (here / name).write_text(name)
    monkeypatch.chdir(here)
    return here


@pytest.mark.parametrize(
    "words",
    [
        ("a.txt", "b.txt", "what?"),
        ("a.txt", "what?", "b.txt"),
        ("a.txt", "c d.txt", "what?"),
        ("a.txt", "sub/plain", "what?"),
        ("a.txt", "./notes"),
    ],
)
def test_a_file_that_a_glob_made_a_word_of_is_no_part_of_the_question(
    program: Program, folder: Path, words: tuple[str, ...]
) -> None:
    assert folder.is_dir()
    said = refused(program, "--offline", "-f", *words)
    named = next(word for word in words[1:] if word != "what?")
    assert f"{named} is a file" in said
    assert "-f FILE -f FILE" in said


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("-f", "a.txt"), ("notes",)),  # a word, before it is a file's name
        (("-f", "a.txt"), ("./no-such.txt",)),
        (("-f", "a.txt"), ("sub/",)),
        (("-f", "a.txt"), ("what is in a.txt?",)),
        ((), ("b.txt",)),
    ],
)
def test_words_that_name_no_file_are_the_question(
    program: Program, folder: Path, flags: tuple[str, ...], words: tuple[str, ...]
) -> None:
    assert folder.is_dir()
    assert program.run("ask", "--offline", *flags, *words).status == 0


@pytest.mark.parametrize(
    ("variable", "nearest"),
    [
        ("PIPECHAT_MODL", "PIPECHAT_MODEL"),
        ("PIPECHAT_SESION", "PIPECHAT_SESSION"),
        ("PIPECHAT_APIKEY", "PIPECHAT_API_KEY"),
        ("PIPECHAT_HOM", "PIPECHAT_HOME"),
        ("PIPECHAT_NO_STREM", "PIPECHAT_NO_STREAM"),
        ("PIPECHAT_QQQQ", ""),
    ],
)
def test_a_variable_that_there_is_not_is_told_of_and_minus_q_silences_it(
    program: Program, variable: str, nearest: str
) -> None:
    for command in (
        ("ask", "--dry-run", "hi"),
        ("ask", "--dry-run", "hi", "-q"),
        ("chat", "--offline"),
    ):
        result = program.run(*command, env={variable: "x"})
        told = result.stderr.decode()
        assert result.status == 0
        assert (f"{variable} is no variable of pipechat" in told) == ("-q" not in command)
        if "-q" not in command and nearest:
            assert f"Did you mean {nearest!r}?" in told


def test_variables_that_are_no_options_and_empty_ones_are_no_mistake(program: Program) -> None:
    names = ("PIPECHAT_PYTHON", "PIPECHAT_PLAIN_IMPORT", "PIPECHAT_API_KEY", "PIPECHAT_VAR")
    env: dict[str, str | None] = {**dict.fromkeys(names, "x=12345678"), "PIPECHAT_MODL": ""}
    result = program.run("ask", "--dry-run", "hi", env=env)
    assert (result.status, result.stderr) == (0, b"")


@pytest.mark.parametrize("key", ["modle", "temprature", "base-url"])
def test_a_setting_that_there_is_not_is_told_of_in_any_profile(program: Program, key: str) -> None:
    (program.home / "config.toml").write_text(f"[profiles.a]\n[profiles.other]\n{key} = 1\n")
    said = refused(program, "--offline", "hi", code="bad_config", status=3)
    assert f"profiles.other: there is no setting {key!r}. Did you mean" in said


MODIFIERS = [
    ("--if-busy", "fail", "--session"),
    ("--keep-files", "", "--session"),
    ("--var", "a=1", "--template"),
    ("--schema-mode", "strict", "--schema"),
    ("--schema-retries", "2", "--schema"),
    ("--replay-pace", "", "--replay"),
]


@pytest.mark.parametrize(("flag", "value", "needed"), MODIFIERS)
def test_what_changes_an_option_that_is_not_there_is_an_error_as_a_flag_alone(
    program: Program, flag: str, value: str, needed: str
) -> None:
    said = refused(program, "--offline", "hi", flag, *filter(None, [value]))
    assert f"{flag} needs a {needed}" in said
    env: dict[str, str | None] = {"PIPECHAT_" + flag[2:].upper().replace("-", "_"): value or "1"}
    assert program.run("ask", "--offline", "hi", env=env).status == 0


@pytest.mark.parametrize(
    "line", ["keep_files = true", 'schema_mode = "json"', "schema_retries = 1"]
)
def test_what_the_config_says_of_an_option_that_is_not_there_waits_for_it(
    program: Program, line: str
) -> None:
    (program.home / "config.toml").write_text(line)
    assert program.run("ask", "--offline", "hi").status == 0


@pytest.mark.parametrize(
    "words",
    ["-v means what?", "- a list", "--what is this", "-5", "-?", "-x\ty", "--", "-qv is what"],
)
def test_a_question_that_begins_with_a_dash_is_told_to_stand_behind_two(
    program: Program, words: str
) -> None:
    if words != "--":
        said = refused(program, "--offline", words, code="usage")
        assert "is no option. Put `--` before a question that begins with a dash." in said
    result = program.run("ask", "--offline", "--", words)
    assert (result.status, words.encode() in result.stdout) == (0, True)


def test_an_option_that_there_is_not_is_still_told_as_one(program: Program) -> None:
    for option in ("--sesion", "-Z", "--no-such=a b"):
        said = refused(program, "--offline", option, "what is -5?", code="usage")
        assert "No such option: " + option.partition("=")[0] in said


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (("what is this?",), "Did you mean: pipechat ask 'what is this?'?"),
        (("Hello",), "Did you mean: pipechat ask Hello?"),
        (("What", "is", "this", "--offline"), "Or: pipechat ask What is this --offline?"),
        (("list",), "Did you mean: pipechat history list?"),
        (("show", "a"), "Did you mean: pipechat history show?"),
        (("histroy", "list"), "Did you mean 'history'?"),
        (("--offline", "ask", "hi"), "Options come after the command: pipechat ask OPTIONS…."),
        (("-m", "x", "chat"), "Options come after the command: pipechat chat OPTIONS…."),
        (("history", "-q", "list"), "after the command: pipechat history list OPTIONS…."),
        (("history", "show", "--last"), "See pipechat history show --help."),
        (("ask", "--model"), "See pipechat ask --help."),
    ],
)
def test_a_command_that_there_is_not_is_answered_with_the_one_that_was_meant(
    program: Program, words: tuple[str, ...], hint: str
) -> None:
    result = program.run(*words)
    assert (result.status, result.code, result.stdout) == (2, "usage", b"")
    assert hint in result.stderr.decode()


NOT_FOUND = http_reply(404, b"404 page not found", content_type="text/plain")


@pytest.mark.parametrize(
    ("path", "body", "hint"),
    [
        ("", NOT_FOUND, "Does the base URL lack /v1, as in {origin}/v1?"),
        ("/", NOT_FOUND, "Does the base URL lack /v1, as in {origin}/v1?"),
        ("/v1/chat/completions", NOT_FOUND, "Leave /chat/completions out of the base URL."),
        ("/v1", NOT_FOUND, "Check the model (-m) and the base URL."),
        ("", "model x does not exist", "Check the model (-m)"),
    ],
)
def test_an_address_where_nothing_is_is_named_with_what_may_be_wrong_with_it(
    program: Program, path: str, body: Reply | str, hint: str
) -> None:
    reply = body if isinstance(body, Reply) else error_reply(404, body)
    with ChatServer(reply) as server:
        origin = server.origin()
        said = refused(program, "hi", "--base-url", origin + path, code="not_found", status=4)
        url = f"{origin}{path.rstrip('/')}/chat/completions"
    assert f"(asked: {url})" in said
    assert hint.format(origin=origin) in said


@pytest.mark.parametrize(
    ("env", "config", "flags", "origin"),
    [
        ({}, "", (), "OPENAI_API_KEY"),
        ({"PIPECHAT_API_KEY": "sk-of-pipechat"}, "", (), "PIPECHAT_API_KEY"),
        ({"OPENAI_API_KEY": None}, 'api_key = "sk-of-the-file"', (), "config.toml: api_key"),
        ({"OPENAI_API_KEY": None}, 'api_key_command = "echo sk-of-it"', (), "api_key_command"),
        ({"OPENAI_API_KEY": None}, '[profiles.p]\napi_key = "sk-of-the-profile"',
         ("--profile", "p"), "profiles.p.api_key"),
        ({"OPENAI_API_KEY": None}, "", (), ""),
    ],
)  # fmt: skip
@pytest.mark.parametrize("status", [401, 403])
def test_a_key_that_is_refused_is_named_by_where_it_came_from(
    program: Program,
    env: dict[str, str | None],
    config: str,
    flags: tuple[str, ...],
    origin: str,
    status: int,
) -> None:
    path = program.home / "config.toml"
    path.write_text(config)
    path.chmod(0o600)
    code = {401: "unauthorized", 403: "forbidden"}[status]
    with ChatServer(error_reply(status, "no")) as server:
        ask = ("hi", "--base-url", server.url, *flags)
        said = refused(program, *ask, env=env, code=code, status=3)
    assert f"{origin}) and the base URL." in said or not origin
    assert ("No key was sent: set OPENAI_API_KEY" in said) == (not origin)


@pytest.mark.parametrize("variable", ["OPENAI_API_KEY", "PIPECHAT_API_KEY", "OPENAI_ORG_ID"])
def test_a_key_that_can_be_none_is_named_by_where_it_came_from(
    program: Program, variable: str
) -> None:
    said = refused(program, "hi", env={variable: "two words"}, code="bad_key", status=3)
    assert f"{variable} holds characters" in said
    assert f"Set {variable} again." in said


EMPTY = ["output", "record", "replay", "session", "model", "base-url", "proxy", "schema", "file",
         "profile", "extract", "if-busy", "output-format", "timeout", "option", "var"]  # fmt: skip


@pytest.mark.parametrize("name", EMPTY)
def test_an_empty_value_is_told_with_its_flag(program: Program, name: str) -> None:
    for value in ("", "="):
        more = {"if-busy": ("--session", "s"), "var": ("--template", "x")}.get(name, ("hi",))
        words = [f"--{name}", ""] if value == "" else [f"--{name}="]
        if name == "output-format":
            result = program.run("ask", "--offline", *words, "hi")
            assert (result.status, result.code) == (2, "bad_option")
            said = result.stderr.decode()
        else:
            code = "bad_session_name" if name == "session" else "bad_option"
            said = refused(program, "--offline", *more, *words, code=code)
        assert f": --{name}: " in said
    assert not (program.home / "sessions").exists()


@pytest.mark.parametrize("flag", ["-o", "-f", "--record", "--replay"])
def test_a_question_that_looks_like_a_flag_makes_no_file(
    program: Program, folder: Path, flag: str
) -> None:
    before = set(folder.iterdir())
    words = [f"{flag} means what?"] if len(flag) == 2 else [flag, " what?"]
    said = refused(program, "--offline", *words, input=b"data")
    assert "begins with a blank" in said
    assert set(folder.iterdir()) == before


@pytest.mark.parametrize(
    ("name", "value", "code", "status"),
    [
        ("session", "a b", "bad_session_name", 2),
        ("session", "../up", "bad_session_name", 2),
        ("file", "a:b", "bad_file", 2),
        ("file", "/", "bad_file", 2),
        ("output", "/no/such/file", "output_failed", 11),
        ("record", "/no/such/file", "recording_unwritable", 11),
        ("replay", "/no/such/file", "unreadable_input", 2),
        ("template", "{{ open", "bad_template", 2),
        ("template", "{{ nobody }}", "undefined_variable", 2),
        ("schema", "a strin", "bad_schema", 2),
        ("system", "@/no/such/file", "unreadable_input", 2),
    ],
)
def test_a_value_that_only_its_use_shows_to_be_wrong_is_told_with_who_set_it(
    program: Program, name: str, value: str, code: str, status: int
) -> None:
    variable = f"PIPECHAT_{name.upper()}"
    words = ("-q",) if name == "template" else ("-q", "hi")
    said = refused(program, "--offline", *words, env={variable: value}, code=code, status=status)
    assert f": {variable}: " in said
    said = refused(program, "--offline", *words, f"--{name}", value, code=code, status=status)
    assert f": --{name}: " in said


@pytest.mark.parametrize("at", ["0", "00", "000"])
def test_turns_are_counted_from_one(program: Program, at: str) -> None:
    for _ in range(2):
        assert program.run("ask", "--offline", "--session", "s", "hi").status == 0
    result = program.run("history", "fork", "s", "other", "--at", at)
    assert (result.status, result.code) == (2, "no_such_turn")
    assert f"has no turn {at!r}" in result.stderr.decode()


@pytest.mark.parametrize("by", ["stdin", "--system", "--template"])
def test_what_is_too_long_is_told_in_the_unit_of_its_setting(program: Program, by: str) -> None:
    (program.home / "config.toml").write_text("max_input_mib = 0.5\n")
    long = program.home / "long.txt"
    long.write_bytes(b"x" * 600_000)
    code = "input_too_large" if by == "stdin" else "unreadable_input"
    flags = () if by == "stdin" else (by, f"@{long}")
    data = long.read_bytes() if by == "stdin" else b""
    said = refused(program, "--offline", "hi", *flags, input=data, code=code)
    assert "more than 0.5 MiB (max_input_mib)" in said


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ("model = x", 'quotes: model = "NAME"'),
        ("model = gpt-5.4-mini", 'quotes: model = "NAME"'),
        ("timeout = 5m", 'quotes: model = "NAME"'),
        ("model\n", "line 1"),
        ('# caf\xe9\nmodel = "x"', "it is not UTF-8: byte 0xe9 in line 1"),
        ('model = "x"\n\nsystem = "\xff"', "it is not UTF-8: byte 0xff in line 3"),
    ],
)
def test_a_config_that_is_none_is_told_with_its_line_and_what_to_write(
    program: Program, config: str, told: str
) -> None:
    (program.home / "config.toml").write_bytes(config.encode("latin-1"))
    assert told in refused(program, "--offline", "hi", code="bad_config", status=3)


@pytest.mark.parametrize("name", ["--base-url", "--proxy"])
@pytest.mark.parametrize("value", ["127.0.0.1:1080", "localhost:3128", "proxy.test"])
def test_an_address_without_a_scheme_is_answered_with_one(
    program: Program, name: str, value: str
) -> None:
    assert f"did you mean http://{value} or " in refused(program, "hi", name, value)
    assert "did you mean" not in refused(program, "hi", name, f"http:/{value}")


@pytest.mark.parametrize("words", [("--last", "two"), ("-n", "1.5"), ("-n", "")])
def test_a_number_of_turns_that_is_none_is_told_in_plain_words(
    program: Program, words: tuple[str, ...]
) -> None:
    result = program.run("history", "show", *words)
    assert (result.status, result.code) == (2, "usage")
    assert f"{words[1]!r} is not a whole number" in result.stderr.decode()


@pytest.mark.parametrize("command", ["ask", "chat"])
def test_the_help_says_where_settings_lie_and_what_the_exit_codes_mean(
    program: Program, command: str
) -> None:
    told = " ".join(program.run(command, "--help").stdout.decode().split())
    assert "config.toml" in told
    assert "~/.config/pipechat" in told
    for code in ExitCode:
        assert f"{int(code)} {code.name.lower().replace('_', ' ')}" in told


@pytest.mark.in_process(False)
def test_a_person_is_told_which_of_several_sessions_is_shown(program: Program) -> None:
    ask = ("ask", "--offline", "-q", "hi", "--session")
    show = ("history", "show")
    said = "session second, the one used last"
    assert program.run(*ask, "first").status == 0
    with AtTerminal(program, *show, env={}) as alone:
        assert alone.leave() == 0
    assert said.encode() not in alone.screen
    assert program.run(*ask, "second").status == 0
    for words, told in (((), True), (("-q",), False), (("second",), False)):
        with AtTerminal(program, *show, *words, env={}) as shown:
            assert shown.leave() == 0
        assert (said.encode() in shown.screen) == told
    assert program.run(*show).stderr == b""


def test_https_where_http_is_spoken_is_told_so_and_asked_once(program: Program) -> None:
    with RawServer(b"HTTP/1.1 400 What?\r\n\r\n", Wait(2)) as server:
        flags = ("hi", "--base-url", server.https_url, "--timeout", "20")
        said = refused(program, *flags, code="connection_failed", status=5)
        assert server.connections == len(FORMATS)
    assert "speaks no TLS. Is it http:// instead of https://?" in said


@pytest.mark.parametrize("said", ["no JSON", "[1]", '{"age": "x"}'])
def test_an_answer_that_does_not_match_is_spoken_of_once(program: Program, said: str) -> None:
    with ChatServer(answer(said)) as server:
        ask = ("hi", "--base-url", server.url, "--schema", "age int")
        told = refused(program, *ask, code="schema_mismatch", status=7)
    assert told.count("the answer") == 1


def test_only_a_command_that_is_named_is_said_to_stand_before_its_options(
    program: Program,
) -> None:
    for option in ("--verson", "--offline"):
        told = program.run(option).stderr.decode()
        assert "See pipechat --help." in told


def test_a_key_in_the_address_is_not_shown_where_nothing_is(program: Program) -> None:
    with ChatServer(NOT_FOUND) as server:
        url = f"{server.url}/{PLANTED_KEY}"
        said = refused(program, "hi", "--base-url", url, code="not_found", status=4)
    assert "/v1/[key]/chat/completions" in said


@pytest.mark.parametrize(
    ("by", "option", "name"),
    [
        ("flag", "system", "notes.txt"),
        ("flag", "system", "folder/notes"),
        ("environment", "system", "notes.txt"),
        ("config", "system", "notes.txt"),
        ("flag", "template", "notes.txt"),
        ("flag", "template", "folder/notes"),
        ("environment", "template", "notes.txt"),
        ("flag", "schema", "notes.txt"),  # with a slash it is a schema's file already
        ("environment", "schema", "notes.txt"),
    ],
)
def test_the_name_of_a_file_is_never_sent_in_the_place_of_what_it_holds(
    program: Program, tmp_path: Path, by: str, option: str, name: str
) -> None:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("A note, no more.\n")
    if by == "config":
        (program.home / "config.toml").write_text(f'system = "{name}"\n')
    for more in ((), ("--output-format", "ndjson")):
        flags = (f"--{option}", name) if by == "flag" else ()
        env = {f"PIPECHAT_{option.upper()}": name} if by == "environment" else {}
        result = program.run(
            "ask", "--offline", "--no-stdin", *flags, *more, "Hello",
            env=env, events=False, cwd=tmp_path,
        )  # fmt: skip
        assert result.status == (3 if by == "config" else 2)
        assert "offline, with" not in result.stdout.decode()
        said = result.stderr.decode()
        assert said.count("\n") == 1
        assert f"{name} is a file" in said
        assert said.lower().endswith(f"write @{name}.\n")


def test_a_text_that_only_resembles_a_file_is_sent(program: Program, tmp_path: Path) -> None:
    (tmp_path / "brief").write_text("A note.\n")
    (tmp_path / "dir.d").mkdir()
    for system in ("brief", "dir.d", "Be brief.", "notes.txt"):
        result = program.run(
            "ask", "--dry-run", "--no-stdin", "--system", system, "Hi", cwd=tmp_path
        )
        assert json.loads(result.stdout)["messages"][0]["content"] == system


@pytest.mark.parametrize("command", [("ask", "Hello"), ("batch", "run")])
@pytest.mark.parametrize("name", ["OPENAI_API_KEY", "PIPECHAT_API_KEY", "api_key", None])
def test_with_v_it_is_told_where_it_is_asked_and_whose_key_goes_there(
    program: Program, command: tuple[str, ...], name: str | None
) -> None:
    key = "a-key-of-its-own"
    env = {"OPENAI_API_KEY": None, **({name: key} if name and name.isupper() else {})}
    with ChatServer(answer("Bonjour")) as server:
        place = ("--base-url", server.url) if name != "api_key" else ()
        config = program.home / "config.toml"
        config.write_text(f'base_url = "{server.url}"\napi_key = "{key}"\n' if not place else "")
        config.chmod(0o600)
        result = program.run(
            *command, "-v", "-m", "m", *place, env=env, events=False, input=b'{"question":"x"}\n'
        )
        assert len(server.requests) == 1
    assert result.status == 0
    first = result.stderr.decode().splitlines()[0]
    host = server.url.split("/")[2]
    told = f"the key of {f'{config}: api_key' if name == 'api_key' else name}" if name else "no key"
    assert first == f"pipechat: asking {host} for m, with {told}"
    assert key not in result.stderr.decode()


@pytest.mark.parametrize("command", [("ask", "Hello"), ("batch", "run")])
@pytest.mark.parametrize(
    ("config", "options", "told"),
    [
        ("", ("-H", "Authorization: Basic abc"), "the Authorization header of --header"),
        ("", ("-H", "X-Team: red"), "the key of OPENAI_API_KEY"),
        ('auth = "api-key"\n', ("-H", "api-key: abc"), "the api-key header of --header"),
        ('[headers]\nauthorization = "abc"\n', (),
         "the authorization header of {config}: headers"),
    ],
)  # fmt: skip
def test_with_v_it_is_told_which_header_goes_in_the_place_of_a_key(
    program: Program, command: tuple[str, ...], config: str, options: tuple[str, ...], told: str
) -> None:
    path = program.home / "config.toml"
    with ChatServer(answer("Bonjour")) as server:
        path.write_text(f'base_url = "{server.url}"\n{config}')
        path.chmod(0o600)
        result = program.run(*command, "-v", *options, events=False, input=b'{"question":"x"}\n')
    assert result.status == 0
    assert f", with {told.format(config=path)}\n" in result.stderr.decode()


ELSEWHERE = "http://127.0.0.1:9/v1"
KEYS_OF_OTHERS = [
    ({"OPENAI_BASE_URL": ELSEWHERE}, "", "OPENAI_API_KEY is for OPENAI_BASE_URL alone"),
    ({"OPENAI_API_KEY": None, "PIPECHAT_API_KEY": "sk-x", "PIPECHAT_BASE_URL": ELSEWHERE}, "",
     "PIPECHAT_API_KEY is for PIPECHAT_BASE_URL alone"),
    ({"OPENAI_API_KEY": None, "AZURE_OPENAI_API_KEY": "sk-x"}, "",
     "AZURE_OPENAI_API_KEY is for AZURE_OPENAI_ENDPOINT, else Azure's hosts, alone"),
    ({"OPENAI_API_KEY": None}, f'base_url = "{ELSEWHERE}"\napi_key = "sk-x"',
     "{home}/config.toml: api_key is for {home}/config.toml: base_url alone"),
    ({"OPENAI_API_KEY": None}, f'base_url = "{ELSEWHERE}"\napi_key_command = "echo sk-x"',
     "{home}/config.toml: api_key_command is for {home}/config.toml: base_url alone"),
]  # fmt: skip


@pytest.mark.parametrize(("env", "config", "said"), KEYS_OF_OTHERS)
def test_a_key_that_is_there_and_goes_elsewhere_is_not_said_to_be_missing(
    program: Program, env: dict[str, str | None], config: str, said: str
) -> None:
    path = program.home / "config.toml"
    path.write_text(config)
    path.chmod(0o600)
    told = said.format(home=program.home)

    def refusal(url: str, code: str) -> str:
        text = refused(program, "hi", "--base-url", url, env=env, code=code, status=3)
        assert "set OPENAI_API_KEY" not in text
        assert text.endswith("Name this base URL beside the key, or both in a profile.\n")
        return text

    with ChatServer(error_reply(401, "no")) as server:
        assert f"No key was sent: {told}." in refusal(server.url, "unauthorized")
        doctor = program.run("doctor", "--base-url", server.url, env=env).stdout.decode()
        assert not [each for each in server.requests if "authorization" in each.headers]
    assert told in next(line for line in doctor.splitlines() if "\tkey\t" in line)
    assert f"for api.openai.com: {told}." in refusal("https://api.openai.com/v1", "no_key")


def test_a_key_of_azure_without_an_endpoint_is_told_with_the_variable_that_names_one(
    program: Program,
) -> None:
    env = {"OPENAI_API_KEY": None, "AZURE_OPENAI_API_KEY": "sk-x"}
    said = refused(program, "hi", env=env, code="no_key", status=3)
    assert said.endswith("alone. Set AZURE_OPENAI_ENDPOINT, or --base-url.\n")


@pytest.mark.parametrize(
    ("flags", "env", "config", "named"),
    [
        (("--base-url", "{url}"), {}, "", "--base-url"),
        ((), {"OPENAI_BASE_URL": "{url}"}, "", "the base URL (OPENAI_BASE_URL)"),
        ((), {"PIPECHAT_BASE_URL": "{url}"}, "", "the base URL (PIPECHAT_BASE_URL)"),
        ((), {}, 'base_url = "{url}"', "the base URL ({home}/config.toml: base_url)"),
        (("--profile", "p"), {}, '[profiles.p]\nbase_url = "{url}"',
         "the base URL ({home}/config.toml: profiles.p.base_url)"),
    ],
)  # fmt: skip
def test_an_endpoint_that_is_not_there_is_told_with_who_named_it(
    program: Program,
    flags: tuple[str, ...],
    env: dict[str, str | None],
    config: str,
    named: str,
) -> None:
    with RefusedPort() as port:
        (program.home / "config.toml").write_text(config.format(url=port.url))
        words = [each.format(url=port.url) for each in flags]
        there = {name: (value or "").format(url=port.url) for name, value in env.items()}
        ask = ("hi", "--retries", "0", *words)
        said = refused(program, *ask, env={**there}, code="connection_refused", status=5)
    assert said.endswith(f"Check {named.format(home=program.home)}.\n")


@pytest.mark.parametrize("command", ["exit 3", "true", "no-such-command-of-ours 2>/dev/null"])
def test_of_a_command_that_prints_no_key_it_is_told_how_to_see_why(
    program: Program, command: str
) -> None:
    path = program.home / "config.toml"
    path.write_text(f'api_key_command = "{command}"\n')
    path.chmod(0o600)
    said = refused(program, "hi", env={"OPENAI_API_KEY": None}, code="no_key", status=3)
    assert said.endswith("Run it by hand; `pipechat config show` tells where it stands.\n")
