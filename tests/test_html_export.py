"""The page of HTML: nothing that was said in a conversation runs in it, or makes it fetch."""

import json
import re
import subprocess
import sys
from decimal import Decimal
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipechat.messages import Turn
from pipechat.show.html_markdown import as_html
from pipechat.show.html_page import POLICY, HtmlPage
from tests.browser import a_browser
from tests.history_kit import limit_memory, line, turn, write_session
from tests.program import Program
from tests.properties import MODEST
from tests.sample_page import TURNS, page_of

pytestmark = pytest.mark.in_process

# The list, as it stands and with the bytes that its escapes mean; and what Markdown adds to it.
_LIST: list[str] = json.loads((Path(__file__).parent / "data" / "xss.json").read_text())["strings"]
_MARKDOWN = [
    "[x](javascript:alert(1))", "[x](JaVa\tScript:alert(1))", "[x](&#x6A;avascript:alert(1))",
    "[x](\x01javascript:alert(1))", "[x](javascript&colon;alert(1))", "<javascript:alert(1)>",
    "[x](data:text/html,<script>alert(1)</script>)", "[x](vbscript:alert(1))",
    "[x](file:///etc/passwd)", "[x](//evil.example/)", "[x](/etc/passwd)", "[x](x.html)",
    "[x][y]\n\n[y]: javascript:alert(1)", "![x](javascript:alert(1))",
    "![x](https://evil.example/x.png)", "![x](data:image/svg+xml,<svg/onload=alert(1)>)",
    '![" onerror="alert(1)](https://evil.example/x.png "t\\" onload=\\"alert(1)")',
    '[x](https://evil.example/"onmouseover="alert(1))',
    "[x](https://evil.example/ '\"><script>alert(1)</script>')",
    '<https://evil.example/"onclick="alert(1)>',
    "[![x](https://evil.example/x.png)](https://evil.example/)",
    '```"><script>alert(1)</script>\ncode\n```', '```js" onload="alert(1)\ncode\n```',
    "    <script>alert(1)</script>", "`<script>alert(1)</script>`",
    "|a|b|\n|:-:|-:|\n|<img src=x onerror=alert(1)>|[x](javascript:alert(1))|",
    "<div>\n<script>alert(1)</script>\n</div>", "<!-- \n", "<![CDATA[\n", "<?php\n", "<style>\n",
    "<textarea>", "&lt;script&gt;alert(1)&lt;/script&gt;",
    "&#60;script&#62;alert(1)&#60;/script&#62;", "# <svg onload=alert(1)>\n===",
    "* <a href='javascript:alert(1)'>x</a>\n  > <iframe srcdoc='<script>alert(1)</script>'>",
    "\x00<script>alert(1)</script>", "\ufeff<script>alert(1)</script>",
    "\ud800<script>alert(1)</script>", "</title></style><script>alert(1)</script>",
    "</div></section></article></main><script>alert(1)</script>",
]  # fmt: skip
STRINGS = [*_LIST, *(re.sub(r"\\x(..)", lambda m: chr(int(m[1], 16)), each) for each in _LIST)]
STRINGS = [*dict.fromkeys(STRINGS), *_MARKDOWN]

_TAGS = frozenset(
    ("html", "head", "meta", "title", "style", "body", "header", "main", "footer", "article",
     "section", "div", "p", "a", "time", "bdi", "h1", "h2", "h3", "h4", "h5", "h6", "ul", "ol",
     "li", "pre", "code", "em", "strong", "s", "blockquote", "table", "thead", "tbody", "tr", "th",
     "td", "hr", "br")
)  # fmt: skip
_ATTRIBUTES = frozenset(
    ("lang", "charset", "http-equiv", "content", "name", "id", "class", "href", "rel", "title",
     "dir", "datetime", "tabindex", "role", "aria-label", "start")
)  # fmt: skip
_WITHOUT_END = {"meta", "hr", "br"}


class Looked(HTMLParser):
    """What a page holds: its faults, and its texts by the class of what they stand in."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.faults: list[str] = []
        self.links: list[str] = []
        self.ids: list[str] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(page)
        self.close()
        self.faults += [f"open: {each}" for each in self._open]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in _TAGS:
            self.faults.append(f"tag: {tag}")
        for name, value in attrs:
            if name not in _ATTRIBUTES:
                self.faults.append(f"attribute: {name}={value}")
            elif name == "href":
                self.links.append(value or "")
                if not re.match(r"https?://|mailto:|#turn-\d+\Z", value or "", re.IGNORECASE):
                    self.faults.append(f"link: {value}")
            elif name == "id":
                self.ids.append(value or "")
        if tag not in _WITHOUT_END:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if not self._open or self._open.pop() != tag:
            self.faults.append(f"end: {tag}")

    def handle_data(self, data: str) -> None:
        self.text += data

    def handle_comment(self, data: str) -> None:
        self.faults.append(f"comment: {data}")

    def handle_pi(self, data: str) -> None:
        self.faults.append(f"instruction: {data}")

    def unknown_decl(self, data: str) -> None:
        self.faults.append(f"declaration: {data}")


def everywhere(text: str, number: int = 1) -> Turn:
    """A turn in which `text` stands wherever text may."""
    return turn(
        number, text, text, id=text, time=text, model=text, system=text, item=text,
        status="partial", error={"code": text, "message": text}, finish_reason=text,
        files=[{"name": text, "bytes": 1, "media_type": text}],
    )  # fmt: skip


def test_no_string_of_a_public_list_of_attacks_becomes_more_than_text_wherever_it_stands() -> None:
    assert len(STRINGS) > 150
    for text in STRINGS:
        looked = Looked(page_of(text, [everywhere(text)]))
        assert looked.faults == [], text


_FRAGMENTS = st.sampled_from(
    ["<", ">", '"', "'", "&", ";", ":", "/", "(", ")", "[", "]", "!", "`", "```", "\n", "\n\n", " ",
     "#", "- ", "*", "_", "|", "~~", "\\", "=", "\t", "    ", "> ", "1. ", "---", "a", "script",
     "img", "src=x", "onerror=", "alert(1)", "javascript:", "https://a.example", "mailto:a@b",
     "&#x3c;", "](", "![", "[a](https://a.b/", "&lt;", "<!--", "-->", "</p>", "\x00", "\x1b",
     "\u202e", "|a|b|\n|-|-|\n"]
)  # fmt: skip


@given(st.lists(_FRAGMENTS | st.text(max_size=3), max_size=30).map("".join))
@MODEST
def test_whatever_is_put_together_of_markdown_and_html_is_text_in_the_page(text: str) -> None:
    assert Looked(page_of(text, [everywhere(text)])).faults == []


def test_the_look_at_a_page_finds_what_would_run() -> None:
    found = [Looked(f"<p>{text}</p>").faults for text in STRINGS]
    assert sum(map(bool, found)) > 100


@pytest.mark.parametrize(
    "name", ["<img src=x onerror=alert(1)>", "\"'><script>x&amp;", "a\x1b[31m\u202eb"]
)
def test_the_name_of_a_file_is_text_in_its_page_and_its_folder_is_not_told(
    program: Program, tmp_path: Path, name: str
) -> None:
    path = tmp_path / f"{name}.jsonl"
    path.write_bytes(line(turn(1)))
    result = program.run("history", "export", f"./{name}.jsonl", "--format", "html", cwd=tmp_path)
    assert result.status == 0
    looked = Looked(result.stdout.decode())
    assert looked.faults == []
    assert str(tmp_path) not in result.stdout.decode()
    shown = name.replace("\x1b", "^[").replace("\u202e", "<U+202E>")
    assert f"{shown}.jsonl" in looked.text


def test_what_was_asked_stands_letter_by_letter_and_what_was_answered_as_markdown() -> None:
    question = "  if a < b && c:\n\treturn '<b>&amp;</b>'\n\n*no emphasis*"
    page = page_of("w", [turn(1, question, "*yes*, `a < b`\n\n```py\nx = '<'\n```")])
    looked = Looked(page)
    assert question in looked.text
    assert "<em>yes</em>, <code>a &lt; b</code>" in page
    assert "<code>x = &#x27;&lt;&#x27;\n</code></pre>" in page
    assert "no emphasis*" in looked.text


def test_links_lead_to_the_web_or_a_mailbox_and_tell_it_nothing() -> None:
    for url in ("https://a.example/?q=1&r=<", "HTTP://a.example/", "mailto:a@b.example"):
        html = as_html(f"[x]({url})")
        assert html.startswith('<p><a href="')
        assert 'rel="noopener noreferrer nofollow"' in html
    for url in ("javascript:alert(1)", "data:text/html,x", "//a.example", "x.html", "ftp://a.example",
                "file:///etc/passwd", "#turn-1", "http:", "https://", "", "<>"):  # fmt: skip
        for text in (f"[x]({url})", f"![x]({url})", f"[x][y]\n\n[y]: {url or '<>'}", f"<{url}>"):
            assert "<a " not in as_html(text), text
    picture = as_html("![a *b*](https://a.example/x.png)")
    assert picture.startswith('<p><a href="https://a.example/x.png" rel="noopener ')
    assert picture.endswith(">[picture: a b]</a></p>\n")
    within = as_html("[![a](https://a.example/x.png)](https://b.example)")
    assert within.count("<a ") == 1


def test_controls_and_turns_of_direction_are_seen_also_those_that_entities_make() -> None:
    text = "a\x1b[31m \x07 \x9b \u202e &#x202E; &#27; \u2066 ok"
    page = page_of(text, [everywhere(text)])
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", page)
    assert Looked(page).faults == []
    assert "^[[31m ^G <U+009B> <U+202E> <U+202E>" in Looked(page).text


def test_each_turn_can_be_linked_to_and_tells_model_time_tokens_and_what_is_wrong() -> None:
    looked = Looked(page_of("pipes", TURNS))
    assert looked.faults == []
    assert looked.ids == [f"turn-{number}" for number in range(1, 6)]
    assert [each for each in looked.links if each[0] == "#"] == [f"#{each}" for each in looked.ids]
    for told in (
        "2026-11-23 00:01 UTC, gpt-5.4-mini, 1,234 tokens sent, 567 received, 3.2 s",
        "notes.txt, 12 kB",
        "left out of what went along later",
        "partial (idle_timeout: nothing came for 60 s)",
        "item q-17",
        "5 turns, 2,468 tokens sent, 1,134 received.",
    ):
        assert told in looked.text
    assert looked.text.count("You are brief and exact.") == 1  # where it changes


@pytest.mark.parametrize(
    ("cost", "shown"),
    [("0", "$0.00"), ("0.00012345", "$0.00012"), ("0.0456", "$0.046"), ("0.5", "$0.50"),
     ("1234.567", "$1,234.57")],
)  # fmt: skip
def test_a_page_tells_what_is_known_of_the_cost(cost: str, shown: str) -> None:
    page = HtmlPage("w", lambda turn: Decimal(cost) if turn.model == "priced" else None)
    priced, other = page.turn(1, turn(1, model="priced")), page.turn(2, turn(2))
    assert f", {shown}" in priced
    assert "$" not in other
    assert f"2 turns, {shown} for 1 of them." in page.foot()


@pytest.mark.parametrize(
    "text",
    ["[" * 30_000, "> " * 30_000, "![[" * 20_000, "- " * 30_000, "*a_" * 20_000, "|a" * 500 + "\n" +
     "|-" * 500 + "\n" + "b\n" * 20_000, "`" * 60_000, "<a" * 30_000, "word " * 60_000,
     "```\n" + "line\n" * 60_000, "- item\n\n" * 10_000],
    ids=range(11),
)  # fmt: skip
def test_an_answer_of_any_make_is_a_page_of_bounded_size(text: str) -> None:
    html = as_html(text)
    assert len(html) < 8 * len(text)
    looked = Looked(f"<p>{html}</p>")
    assert looked.faults == []
    assert sum(map(str.isalnum, looked.text)) == sum(map(str.isalnum, text))


@pytest.mark.parametrize(
    "text",
    [f"[a]: http://{'b' * 20_000}\n\n{'[a] ' * 8_000}",
     f"[a]: http://b '{'title ' * 3_000}'\n\n{'[a][] ' * 5_000}",
     f"[a]: http://b/{'é' * 9_000}\n\n{'[x][a] ' * 4_000}",
     f"[a]: http://{'b' * 20_000}\n\n{'![a] ' * 8_000}",
     f"> [a]: http://{'b' * 20_000}\n\n- {'*[a]* ' * 6_000}"],
    ids=range(5),
)  # fmt: skip
def test_one_target_of_many_links_does_not_make_a_page_many_times_as_large(text: str) -> None:
    html = as_html(text)
    assert len(html) < 8 * len(text)
    assert Looked(f"<p>{html}</p>").faults == []


def test_links_that_share_a_target_lead_there() -> None:
    looked = Looked(as_html(f"[a]: http://{'b' * 2_000}\n\n{'[a] ' * 50}"))
    assert looked.links == [f"http://{'b' * 2_000}"] * 50
    assert len(Looked(as_html("[a](http://b) " * 4_500)).links) == 4_500


def test_usage_and_files_of_any_type_make_no_page_fail() -> None:
    strange: Any
    for strange in (None, -1, True, "x", 1e300, [], {"a": 1}):
        record = turn(1).record()
        record |= {"usage": {"prompt_tokens": strange, "completion_tokens": strange},
                   "files": [strange, {"name": strange, "bytes": strange}], "total_s": strange,
                   "time": "9999-12-31T23:59:59-23:59"}  # fmt: skip
        assert Looked(page_of("w", [Turn.from_record(record)])).faults == []


def test_the_page_of_a_session_of_any_length_takes_little_memory(
    program: Program, tmp_path: Path
) -> None:
    write_session(program, "w", [turn(n, "q" * 50_000, "*a*") for n in range(1, 1500)])
    result = program.run(
        "history", "export", "w", "-o", "w.html", cwd=tmp_path, preexec_fn=limit_memory
    )
    assert (result.status, result.stdout, result.stderr) == (0, b"", b"")
    assert (tmp_path / "w.html").stat().st_size > 70 << 20
    (tmp_path / "w.html").unlink()


def test_the_policy_allows_the_style_sheet_of_the_page_and_nothing_else() -> None:
    page = page_of("w", TURNS)
    assert page.index(POLICY) < page.index("<style>")
    assert "default-src 'none'" in POLICY
    assert "unsafe" not in POLICY
    assert "script" not in POLICY


def test_plain_asks_and_other_exports_know_nothing_of_the_page() -> None:
    script = "import sys, pipechat.commands.history, pipechat.commands.ask; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, check=True, text=True
    )
    loaded = set(done.stdout.split())
    assert not loaded & {"markdown_it", "html", "pipechat.show.html_page", "pipechat.foreign.kinds"}


@pytest.mark.storm
def test_nothing_runs_and_nothing_is_fetched_in_a_real_browser(tmp_path: Path) -> None:
    everything = [everywhere(text, number) for number, text in enumerate(STRINGS, 1)]
    page = HtmlPage(" ".join(STRINGS))
    parts = [page.turn(number, each) for number, each in enumerate(everything, 1)]
    ours, raw = tmp_path / "ours.html", tmp_path / "raw.html"
    shown = "".join([page.head(), *parts, page.foot()])
    ours.write_bytes(shown.encode("utf-8", "replace"))
    raw.write_text(
        "<!doctype html><meta charset=utf-8><img src=x onerror=alert(1)><p>" + "".join(_LIST[:20])
    )
    with a_browser(tmp_path / "browser") as browser:
        # Without the policy too: what was said is text, and not only kept from running.
        for with_policy in (True, False):
            visit = browser.visit(ours, with_policy=with_policy)
            assert (visit.ran, visit.fetched, visit.refused) == ([], [], [])
            assert browser.value("document.querySelectorAll('article').length") == len(STRINGS)
            assert browser.value("getComputedStyle(document.querySelector('.question')).padding")
        control = browser.visit(raw)
        assert any(each.startswith("RAN alert") for each in control.ran)
        assert control.fetched


@pytest.mark.storm
def test_the_page_is_as_wide_as_the_screen_whatever_it_holds(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_text(page_of("pipes" * 40, TURNS))
    inks: dict[str, Any] = {}
    with a_browser(tmp_path / "browser") as browser:
        for width in (320, 390, 1280):
            for scheme in ("light", "dark"):
                browser.look(width, scheme)
                browser.open(path)
                assert browser.value("document.documentElement.scrollWidth") == width
                inks[scheme] = browser.value("getComputedStyle(document.body).backgroundColor")
        assert inks["light"] != inks["dark"]
        browser.look(1280)
        browser.open(path)
        browser.value("document.querySelector('#turn-3 h2 a').click()")
        top = browser.value("document.querySelector('#turn-3').getBoundingClientRect().top")
        assert browser.value("location.hash") == "#turn-3"
        assert top < 844
