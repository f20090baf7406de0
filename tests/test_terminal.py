"""Nothing a model says moves a cursor, and everything it says is still there to be seen."""

import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipechat.text import redacted, visible, visible_json, visible_line
from tests.properties import MODEST, any_text

BIDI = [0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)]
CONTROLS = [*range(0x20), *range(0x7F, 0xA0), *BIDI]


@pytest.mark.parametrize("code", [code for code in CONTROLS if chr(code) not in "\n\t"])
def test_every_control_character_is_shown(code: int) -> None:
    shown = visible(f"a{chr(code)}b")
    assert shown.isprintable()
    assert shown.startswith("a")
    assert shown.endswith("b")
    expected = f"^{chr(code ^ 0x40)}" if code < 0x80 else f"<U+{code:04X}>"
    assert shown == f"a{expected}b"


def test_every_bidi_control_of_unicode_is_among_them() -> None:
    kinds = ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")
    for code in range(0x110000):
        if unicodedata.bidirectional(chr(code)) in kinds:
            assert visible(chr(code)) == f"<U+{code:04X}>"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b]52;c;ZXZpbA==\x07", "^[]52;c;ZXZpbA==^G"),
        ("\x1b[2J", "^[[2J"),
        ("\x9b2J", "<U+009B>2J"),
        ("good\rbad", "good^Mbad"),
        ("a\x00b\x7f", "a^@b^?"),
        ("txt\u202egnp.exe", "txt<U+202E>gnp.exe"),
    ],
)
def test_attacks_on_a_terminal_are_shown(text: str, shown: str) -> None:
    assert visible(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "", "plain\n\ttext\n", "什么是管道？", "ما هو الأنبوب؟", "צינור", "पाइप क्या है",
        "é e\u0301 \u00a0 \u2014 \ufffd", "\U0001f469\u200d\U0001f4bb \u2764\ufe0f",
        "\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466", "می\u200cخواهم",
        "a\u2028b\u2029c", "x\u00adx",
    ],
)  # fmt: skip
def test_ordinary_text_of_all_scripts_is_unchanged(text: str) -> None:
    assert visible(text) == text


@MODEST
@given(any_text)
def test_what_is_shown_holds_no_control_and_is_shown_again_as_it_is(text: str) -> None:
    shown = visible(text)
    assert not {chr(code) for code in CONTROLS} & set(shown) - {"\n", "\t"}
    assert visible(shown) == shown
    line = visible_line(text)
    assert len(line.split("\n")) == 1
    assert visible_line(line) == line
    assert not {chr(code) for code in CONTROLS} & set(line)


@MODEST
@given(any_text)
def test_json_shown_at_a_terminal_says_the_same_without_a_control_character(text: str) -> None:
    line = json.dumps({"text": text}, ensure_ascii=False)
    shown = visible_json(line)
    assert json.loads(shown) == json.loads(line)
    assert not {ord(character) for character in shown} & set(CONTROLS)


def test_a_message_of_one_line_stays_one() -> None:
    assert visible_line("a\nb\tc\r") == "a^Jb c^M"


@MODEST
@given(st.text(max_size=10), st.text(max_size=10))
def test_a_secret_is_blotted_out_wherever_it_stands(before: str, after: str) -> None:
    secret = "sk-0123456789"
    cleaned = redacted(before + secret + after + secret, [secret])
    assert secret not in cleaned
    assert cleaned == f"{before}[key]{after}[key]"
    assert redacted(before, []) == redacted(before, [""]) == before
