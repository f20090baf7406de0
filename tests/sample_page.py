"""A conversation that shows what a page of HTML may hold, and pictures of it to be looked at.

    python -m tests.sample_page FOLDER

writes the page, and how Chromium shows it at 390 and at 1,280 pixels, in light and in dark, and on
paper.
"""

import sys
import tempfile
from pathlib import Path

from pipechat.messages import Turn
from pipechat.show.html_page import HtmlPage
from tests.browser import a_browser
from tests.history_kit import turn

_ANSWER = """## A pipe, in short

A *pipe* joins the **output** of one program to the ~~mouth~~ input of the next, as `ls | wc -l`
does. See [pipe(7)](https://man7.org/linux/man-pages/man7/pipe.7.html) or write to
<mailto:someone@example.com>.

1. The shell makes the pipe.
2. It starts both programs:
   - the writer, whose descriptor 1 is the pipe;
   - the reader, whose descriptor 0 is it.

> A pipe has a bounded capacity: who writes to a full one waits.

```python
def transfer(source, target, size=65536):  # a line that is longer than any phone is wide, scrolls
    while block := source.read(size):
        target.write(block)
```

| limit | bytes | where |
|:--|--:|:-:|
| `PIPE_BUF` | 4,096 | Linux |
| capacity | 65,536 | since Linux 2.6.11 |
| a_name_that_is_long_and_has_no_place_to_be_broken_at | 1 | anywhere |

---

![A drawing of two programs](https://example.com/pipe.png) and
https://example.com/a/very/long/path/that/does/not/end/and/does/not/break/anywhere/at/all/really
"""

_USAGE = {"prompt_tokens": 1234, "completion_tokens": 567, "total_tokens": 1801}
_FILES = [{"name": "notes.txt", "bytes": 12_345}, {"name": "build.log", "bytes": 99}]
TURNS: list[Turn] = [
    turn(1, "What is a pipe?\n\nAnd how large is one?", _ANSWER, system="You are brief and exact.",
         usage=_USAGE, total_s=3.2, files=_FILES),
    turn(2, "ما هو الأنبوب؟\nAnd in mixed text: שלום world 1, 2.",
         "الأنبوب يصل **مخرج** برنامج بمدخل آخر.\n\n1. أولا `ls`\n2. ثانيا\n\n```\nls | wc\n```",
         system="You are brief and exact.", model="qwen3:32b", usage=_USAGE),
    turn(3, "管道是什么？", "管道把一个程序的输出连接到另一个程序。🎉\n\n```\n管道 | 过滤器\n```",
         system="You are brief and exact.", context=False),
    turn(4, "def f():\n\treturn '<b>not bold</b>' & 1\n\n\u202eesrever", "Half of an ans",
         status="partial", system="You are brief and exact.", total_s=61.0,
         error={"code": "idle_timeout", "message": "nothing came for 60 s"}),
    turn(5, "Anything?", "", status="failed", system="You are brief and exact.", item="q-17",
         error={"code": "rate_limited", "message": "the server asks for a pause of 20 s"}),
]  # fmt: skip


def page_of(name: str, turns: list[Turn]) -> str:
    """The page of a conversation."""
    page = HtmlPage(name)
    parts = [page.turn(number, each) for number, each in enumerate(turns, 1)]
    return "".join([page.head(), *parts, page.foot()])


def main(folder: Path) -> None:
    path = folder.resolve() / "sample.html"
    path.write_text(page_of("pipes", TURNS))
    with tempfile.TemporaryDirectory() as own, a_browser(Path(own)) as browser:
        for width in (390, 1280):
            for scheme in ("light", "dark"):
                browser.look(width, scheme)
                browser.open(path)
                browser.picture(folder / f"{width}-{scheme}.png")
        browser.look(794, media="print")
        browser.open(path)
        browser.picture(folder / "paper.png")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
