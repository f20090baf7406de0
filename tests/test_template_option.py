"""--template and --var through the real program: the question that is sent, and what is refused."""

import json
from pathlib import Path

import pytest

from tests.program import Program
from tests.test_start_up import imported

pytestmark = pytest.mark.in_process

FORMATS = ["text", "ndjson"]


def question(program: Program, *more: str, input: bytes = b"", env: str = "") -> str:
    """The question that would be sent."""
    variables = {"PIPECHAT_TEMPLATE": env} if env else {}
    result = program.run("ask", "--dry-run", *more, input=input, env=variables)
    assert result.status == 0, result.stderr
    content: str = json.loads(result.stdout)["messages"][-1]["content"]
    return content


def test_a_template_makes_the_question_of_stdin_words_and_variables(
    program: Program, tmp_path: Path
) -> None:
    path = tmp_path / "question.txt"
    path.write_text("{{ a }}: {{ input }}{% if b == 'x=y' %}!{% endif %}\n")
    more = ("--var", "a=1", "--var", "b=x=y")
    assert question(program, "--template", f"@{path}", *more, input=b"data\n") == "1: data\n!"
    assert question(program, "--template", "<{{ input }}>", "some", "words") == "<some words>"
    both = question(program, "--template", "<{{ input }}>", "word", input=b"data")
    assert both == "<word\n\ndata>"
    assert question(program, "some", env="{{ input|upper }}") == "SOME"


def test_a_template_that_takes_no_input_needs_none(program: Program) -> None:
    assert question(program, "--template", "Hello {{ n }}", "--var", "n=A") == "Hello A"
    data = ("--template", "Hello", "--no-stdin")
    assert question(program, *data, input=b"left alone") == "Hello"


@pytest.mark.parametrize("output_format", FORMATS)
@pytest.mark.parametrize(
    ("more", "code", "told"),
    [
        (("--template", "{{ nobody }}"), "undefined_variable", "nobody"),
        (("--template", "{{ a.b }}", "--var", "a=1"), "undefined_variable", "b"),
        (("--template", "{{ open", "--var", "a=1"), "bad_template", "the template"),
        (("--template", "{% include '/etc/passwd' %}"), "bad_template", "include"),
        (("--template", "{{ ''.__class__ }}"), "template_failed", "__class__"),
        (("--template", "@/nowhere/t.txt"), "unreadable_input", "/nowhere/t.txt"),
        (("--template", "  "), "empty_question", "template"),
        (("--template", "none", "word"), "bad_option", "input"),
        (("--template", "x", "--var", "novalue"), "bad_option", "--var"),
        (("--template", "x", "--var", "input=1"), "bad_option", "--var"),
        (("--template", "x", "--var", "a=1", "--var", "a=2"), "bad_option", "twice"),
        (("word", "--var", "a=1"), "bad_option", "--var needs a --template"),
    ],
)
def test_what_makes_no_question_exits_2_and_says_why(
    program: Program, more: tuple[str, ...], code: str, told: str, output_format: str
) -> None:
    result = program.run("ask", "--offline", *more, "--output-format", output_format)
    assert (result.status, result.code) == (2, code)
    assert told in result.stderr.decode()


def test_input_that_a_template_does_not_take_is_refused_and_not_dropped(program: Program) -> None:
    for words, data in ((("word",), b""), ((), b"data")):
        result = program.run("ask", "--offline", "--template", "Hi", *words, input=data)
        assert (result.status, result.code) == (2, "bad_option")


def test_the_record_keeps_the_question_as_it_was_asked(program: Program) -> None:
    more = ("--template", "Say {{ input }}", "--session", "s")
    assert program.run("ask", "--offline", *more, input=b"A").status == 0
    assert program.records("s")[0]["question"] == "Say A"


@pytest.mark.in_process(False)
def test_a_plain_ask_imports_nothing_of_it(program: Program) -> None:
    plain = imported(program, "ask", "--dry-run", "hello")
    assert not plain & {"jinja2", "pipechat.turn.template", "pipechat.commands.templating"}
