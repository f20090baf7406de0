"""What people bring from other programs is answered with what it is called here."""

import pytest

from tests.program import Program

pytestmark = pytest.mark.in_process

COMMANDS = [
    (("help",), "Did you mean: pipechat --help?"),
    (("help", "ask"), "Did you mean: pipechat ask --help?"),
    (("help", "history", "show"), "Did you mean: pipechat history show --help?"),
    (("version",), "Did you mean: pipechat --version?"),
    (("budget",), "Did you mean: pipechat usage --budget?"),
    (("cost",), "Did you mean: pipechat usage?"),
    (("login",), "Did you mean: pipechat doctor?"),
    (("configure",), "Did you mean: pipechat config init?"),
    (("logs", "-n", "3"), "Did you mean: pipechat history list?"),
    (("history", "rm", "trip"), "Did you mean: pipechat history delete?"),
    (("history", "help", "show"), "Did you mean: pipechat history show --help?"),
    (("history", "clear"), "Did you mean: pipechat history delete?"),
    (("logs", "list"), "Did you mean: pipechat history list?"),
    (("log", "show"), "Did you mean: pipechat history show?"),
    (("session", "ls"), "Did you mean: pipechat history list?"),
    (("keys", "set"), "Did you mean: pipechat doctor?"),
    (("prompt", "why", "so?"), "Did you mean: pipechat ask why 'so?'?"),
    (("history", "save", "trip"), "Did you mean: pipechat history export?"),
    (("history", "load", "x.json"), "Did you mean: pipechat history import?"),
    (("export", "trip"), "Did you mean: pipechat history export?"),
    (("history", "grep", "x"), "Did you mean: pipechat history search?"),
    (("config", "set", "model", "x"), 'Did you mean: $EDITOR "$(pipechat config path)"?'),
    (("config", "list"), "Did you mean: pipechat config show?"),
    (("batch", "results"), "Did you mean: pipechat batch fetch?"),
]
WORDS = [
    (("batch", "questions.ndjson", "-o", "a"), "pipechat batch run questions.ndjson -o a?"),
    (("history", "trip"), "Did you mean: pipechat history show trip?"),
    (("batch", "run", "a.ndjson", "b.jsonl"), "-o OUT names where the records go."),
    (("chat", "hello"), "To ask once: pipechat ask QUESTION."),
    (("history", "list", "trip"), "Of one session: pipechat history show NAME."),
    (("history", "show", "a", "b"), "pipechat history search looks through several."),
    (("config", "show", "model"), "pipechat config show | grep NAME"),
]
OPTIONS = [
    (("ask", "--json", "hi"), "Use --output-format json."),
    (("ask", "-j", "hi"), "Use --output-format json."),
    (("ask", "--jsonl", "hi"), "Use --output-format ndjson."),
    (("ask", "--stream", "hi"), "An answer is streamed unless --no-stream is said."),
    (("ask", "--silent", "hi"), "Did you mean '--quiet'?"),
    (("ask", "--stats", "hi"), "Did you mean '--usage'?"),
    (("chat", "--tokens"), "Did you mean '--usage'?"),
    (("ask", "--timings", "hi"), "Did you mean '--usage'?"),
    (("usage", "--stats"), "No such option: --stats. See pipechat usage --help."),
    (("ask", "--temp", "1", "hi"), "Did you mean '--temperature'?"),
    (("ask", "-s", "Be brief.", "hi"), "Did you mean '--system'?"),
    (("ask", "--prompt", "hi"), "The question is an argument of its own, or stdin."),
    (("ask", "--api-key", "k", "hi"), "The key is never an option"),
    (("batch", "run", "--api-key=k"), "The key is never an option"),
    (("ask", "--no-session", "hi"), "A turn is kept only with --session."),
    (("ask", "-a", "x.png", "hi"), "Did you mean '--file'?"),
    (("ask", "--url", "x", "hi"), "Did you mean '--base-url'?"),
    (("ask", "--seed", "7", "hi"), "Use -O, as in -O seed=7."),
    (("batch", "run", "--concurrency", "4"), "Did you mean '--jobs'?"),
    (("history", "show", "--limit", "4"), "Did you mean '--last'?"),
    (("history", "show", "--session", "trip"), "Did you mean: pipechat history show trip?"),
    (("history", "show", "--session=trip"), "Did you mean: pipechat history show trip?"),
    (("history", "export", "--output-format", "x"), "Did you mean '--format'?"),
    (("config", "show", "--help-env"), "Use pipechat --help-env."),
    (("ask", "--version"), "Use pipechat --version."),
    (("-V",), "Use pipechat --version."),
    (("history", "list", "--json"), "Use --output-format json."),
    (("history", "search", "-A", "2", "x"), "Did you mean '--context'?"),
    (("history", "search", "-w", "x"), r"With -E, \b stands where a word begins or ends."),
    (("usage", "--month"), "Did you mean '--by'?"),
    (("usage", "--csv"), "Use --output-format csv."),
    (("usage", "--session", "trip"), "Did you mean: pipechat usage trip?"),
    (("usage", "--profle", "x"), "Did you mean '--profile'?"),
]


def told(program: Program, words: tuple[str, ...]) -> str:
    """The one line of a command line that cannot be read."""
    result = program.run(*words)
    assert (result.status, result.code) == (2, "usage")
    line = result.stderr.decode().splitlines()[-1]
    assert line.startswith("pipechat: usage: ")
    return line


@pytest.mark.parametrize(("words", "hint"), [*COMMANDS, *WORDS])
def test_a_command_by_its_name_elsewhere_is_answered_with_its_name_here(
    program: Program, words: tuple[str, ...], hint: str
) -> None:
    assert hint in told(program, words)


@pytest.mark.parametrize(("words", "hint"), OPTIONS)
def test_an_option_by_its_name_elsewhere_is_answered_with_its_name_here(
    program: Program, words: tuple[str, ...], hint: str
) -> None:
    assert hint in told(program, words)


def test_words_that_are_a_question_are_still_taken_as_one(program: Program) -> None:
    for words in (("help", "me", "write"), ("logs", "of", "mine"), ("version", "of", "what")):
        assert f"pipechat ask {' '.join(words)}?" in told(program, words)


def test_of_a_single_letter_and_of_what_a_command_has_not_nothing_is_guessed(
    program: Program,
) -> None:
    for words in (
        ("ask", "-S", "x"),
        ("ask", "-Z"),
        ("config", "path", "--json"),
        ("schema", "-n"),
    ):
        line = told(program, words)
        assert "Did you mean" not in line
        assert "--output-format" not in line


@pytest.mark.parametrize(
    "words",
    [("models", "--limit", "3"), ("usage", "--today"), ("config", "init", "--force"),
     ("doctor", "--fix"), ("batch", "run", "--once", "x"), ("history", "import", "--sorce", "x"),
     ("history", "delete", "--nam", "x")],
)  # fmt: skip
def test_an_option_is_near_to_another_by_its_letters_and_not_by_its_dashes(
    program: Program, words: tuple[str, ...]
) -> None:
    assert "Did you mean" not in told(program, words)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("history", "list", "-n", "0"), "'-n': 0 is not 1 or more."),
        (("history", "show", "x", "-n", "-2"), "'-n': -2 is not 1 or more."),
        (("history", "search", "-C", "-1", "x"), "'-C': -1 is not 0 or more."),
    ],
)
def test_a_number_that_is_too_small_is_told_in_words(
    program: Program, words: tuple[str, ...], said: str
) -> None:
    assert said in told(program, words)


@pytest.mark.in_process
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("history", "show", "-1"), "Use -n 1."),
        (("history", "list", "-20"), "Use -n 20."),
        (("history", "search", "-5"), "Put `--` before a word that begins with a dash."),
        (("history", "search", "- x"), "Put `--` before a word that begins with a dash."),
        (("ask", "-5"), "Put `--` before a question that begins with a dash."),
    ],
)
def test_a_number_behind_a_dash_is_told_as_the_command_takes_it(
    program: Program, words: tuple[str, ...], said: str
) -> None:
    assert said in told(program, words)


@pytest.mark.in_process
@pytest.mark.parametrize(
    ("variable", "hint"),
    [
        ("PIPECHAT_MODLE", " Did you mean 'PIPECHAT_MODEL'?"),
        ("PIPECHAT_API_KEYS", " Did you mean 'PIPECHAT_API_KEY'?"),
        ("PIPECHAT_FOO", ""),
        ("PIPECHAT_TOKEN_DIR", ""),
    ],
)
def test_a_variable_is_near_to_another_by_what_follows_the_name_of_the_program(
    program: Program, variable: str, hint: str
) -> None:
    result = program.run("ask", "--offline", "hi", env={variable: "x"})
    assert result.status == 0
    line = next(each for each in result.stderr.decode().splitlines() if variable in each)
    assert line == f"pipechat: {variable} is no variable of pipechat.{hint}"
