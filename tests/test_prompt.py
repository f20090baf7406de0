"""The question and the messages: what goes in comes out, and nothing is no question."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipechat.errors import UsageError
from pipechat.messages import Turn
from pipechat.text import check_argument, decode_text
from pipechat.turn.prompt import compose_messages, compose_question
from tests.properties import MODEST

utf8_text = st.text(max_size=30)


@pytest.mark.parametrize(
    ("words", "data", "question"),
    [
        (["What", "is", "a pipe?"], None, "What is a pipe?"),
        (["sum up"], "the text\n", "sum up\n\nthe text\n"),
        ([], "from stdin\n", "from stdin\n"),
        (["  "], "data", "data"),
        (["q"], "", "q"),
        (["q"], " \n\t", "q"),
        (["a", "", "b"], None, "a  b"),
        ([], " \x00 ", " \x00 "),
        (["问"], "答", "问\n\n答"),
    ],
)
def test_words_and_stdin_are_instruction_then_data(
    words: list[str], data: str | None, question: str
) -> None:
    assert compose_question(words, data) == question


@pytest.mark.parametrize("words", [[], [""], [" ", "\n"], ["\u3000"]])
@pytest.mark.parametrize("data", [None, "", " \n\t\u2028"])
def test_nothing_but_white_space_is_no_question(words: list[str], data: str | None) -> None:
    with pytest.raises(UsageError) as caught:
        compose_question(words, data)
    assert (caught.value.code, int(caught.value.exit_code)) == ("empty_question", 2)


@MODEST
@given(st.lists(utf8_text, max_size=4), st.none() | utf8_text)
def test_instruction_and_data_can_be_told_apart_again(words: list[str], data: str | None) -> None:
    instruction = " ".join(words)
    has_data = data is not None and data.strip() != ""
    if not instruction.strip() and not has_data:
        with pytest.raises(UsageError):
            compose_question(words, data)
        return
    question = compose_question(words, data)
    if not has_data:
        assert question == instruction
    elif not instruction.strip():
        assert question == data
    else:
        assert question.removeprefix(instruction + "\n\n") == data


@MODEST
@given(utf8_text)
def test_text_comes_back_from_its_bytes(text: str) -> None:
    assert decode_text(text.encode(), "stdin") == text
    assert decode_text(text.encode(), "stdin", lossy=True) == text
    assert check_argument(text, "the question") == text


@MODEST
@given(st.binary(max_size=30))
def test_bytes_that_are_not_utf_8_are_refused_with_their_offset_or_replaced(data: bytes) -> None:
    lossy = decode_text(data, "stdin", lossy=True)
    assert lossy == data.decode("utf-8", "replace")
    argument = data.decode("utf-8", "surrogateescape")
    if b"\xef\xbf\xbd" in data or "\ufffd" not in lossy:
        return
    with pytest.raises(UsageError) as caught:
        decode_text(data, "stdin")
    assert caught.value.code == "not_utf8"
    offset = int(caught.value.message.rpartition(" ")[2])
    data[:offset].decode()
    assert f"0x{data[offset]:02x}" in caught.value.message
    with pytest.raises(UsageError, match="the question is not UTF-8"):
        check_argument(argument, "the question")


@pytest.mark.parametrize(
    ("data", "where"),
    [(b"ok\xff", "0xff at offset 2"), (b"\xc3", "0xc3 at offset 0"),
     (b"\xed\xa0\xbd", "0xed at offset 0"), ("né".encode("latin-1"), "0xe9 at offset 1")],
)  # fmt: skip
def test_the_error_names_the_byte_and_what_to_try(data: bytes, where: str) -> None:
    with pytest.raises(UsageError) as caught:
        decode_text(data, "stdin")
    assert caught.value.message == f"stdin is not UTF-8: byte {where}"
    assert "--lossy" in caught.value.hint


def turn(number: int) -> Turn:
    return Turn(
        id=str(number),
        time="",
        status="complete",
        model="m",
        question=f"q{number}",
        answer=f"a{number}",
    )


@MODEST
@given(st.none() | utf8_text, st.integers(0, 5), utf8_text)
def test_messages_are_the_system_the_turns_in_order_and_the_question(
    system: str | None, count: int, question: str
) -> None:
    messages = compose_messages(system, [turn(n) for n in range(count)], question)
    expected = [("system", system)] if system else []
    for number in range(count):
        expected += [("user", f"q{number}"), ("assistant", f"a{number}")]
    expected.append(("user", question))
    assert [(message["role"], message["content"]) for message in messages] == expected
