"""Files of a question: their bytes say what they are, and nothing in them ends their part."""

import base64
import hashlib
import os
import re
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from pipechat.answers.extract import first_code_block
from pipechat.attached_files import check_size, read_attached_file
from pipechat.errors import UsageError
from pipechat.turn.attachments import attach, chat_part, question_content, text_part
from tests.properties import MODEST, any_text

PNG = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"
JPEG = b"\xff\xd8\xff\xe0\x00\x10JFIF"
GIF = b"GIF89a\x01\x00\x01\x00\x80"
WEBP = b"RIFF\x1a\x00\x00\x00WEBPVP8L"
PDF = b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n"


@pytest.mark.parametrize(
    ("data", "media_type"),
    [
        (PNG, "image/png"),
        (JPEG, "image/jpeg"),
        (GIF, "image/gif"),
        (GIF.replace(b"9a", b"7a"), "image/gif"),
        (WEBP, "image/webp"),
        (PDF, "application/pdf"),
        (b"%PDF-1.4\nall of it in ASCII", "application/pdf"),
        (b"", "text/plain"),
        (b"text\n", "text/plain"),
        (b"\xef\xbb\xbfwith a mark", "text/plain"),
        ("日本語 🙂".encode(), "text/plain"),
        (b"\x1b[1mbold\x1b[0m\r\n", "text/plain"),
        (b"GIF89a is a format of 1989", "text/plain"),
        (b"BMW, ID3, OggS and PK are words", "text/plain"),
        (b"see %PDF-1.7", "text/plain"),
    ],
)
@pytest.mark.parametrize("name", ["x", "x.png", "x.txt", "x.pdf"])
def test_what_a_file_is_its_bytes_say_and_not_its_name(
    name: str, data: bytes, media_type: str
) -> None:
    attachment = attach(name, data)
    assert attachment.record() == {
        "name": name,
        "bytes": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
        "media_type": media_type,
    }


@pytest.mark.parametrize(
    ("data", "what"),
    [
        ("é".encode("utf-16"), "UTF-16"),
        ("é".encode("utf-32"), "UTF-32"),
        (b"PK\x03\x04\x14\x00", "ZIP"),
        (b"\x1f\x8b\x08\x00", "gzip"),
        (b"name" + bytes(253) + b"ustar\x00", "tar"),
        (b"BM\x36\x00\x00\x00", "BMP"),
        (b"\x00\x00\x00\x18ftypheic", "HEIC"),
        (b"\x00\x00\x00\x18ftypisom", "MP4"),
        (b"RIFF\x24\x00\x00\x00WAVEfmt ", "WAV"),
        (b"RIFF\x24\x00\x00\x00AVI LIST", "binary"),
        (b"\x7fELF\x02\x01\x01\x00", "ELF"),
        (b"SQLite format 3\x00", "SQLite"),
        (b"caf\xe9", "byte 0xe9 at offset 3"),
        (b"a\x00b", "byte 0x00 at offset 1"),
        (PNG[:4], "byte 0x89 at offset 0"),
    ],
)
def test_a_file_of_another_kind_is_refused_with_its_name_and_what_it_is(
    data: bytes, what: str
) -> None:
    with pytest.raises(UsageError, match=re.escape(what)) as caught:
        attach("in\nvoice.png", data)
    assert (caught.value.code, int(caught.value.exit_code)) == ("bad_file", 2)
    assert "in^Jvoice.png" in caught.value.message
    assert caught.value.line().isprintable()


def test_an_image_is_a_data_url() -> None:
    assert chat_part(attach("a.txt", PNG)) == {
        "type": "image_url",
        "image_url": {"url": "data:image/png;base64," + base64.b64encode(PNG).decode()},
    }


def test_a_pdf_is_a_file_with_the_last_part_of_its_name() -> None:
    encoded = base64.b64encode(PDF).decode()
    assert chat_part(attach("private/folder/a\nb.pdf", PDF)) == {
        "type": "file",
        "file": {"filename": "a^Jb.pdf", "file_data": f"data:application/pdf;base64,{encoded}"},
    }


def test_the_question_comes_first_and_then_its_files_in_their_order() -> None:
    files = [attach("b", b"text"), attach("a", PNG)]
    content = question_content("what?", files)
    assert content == [{"type": "text", "text": "what?"}, *map(chat_part, files)]
    assert question_content("  \n", files) == [*map(chat_part, files)]
    assert question_content("what?", []) == "what?"


def test_a_text_is_its_name_and_a_fenced_block() -> None:
    assert text_part(attach("a.txt", b"one\ntwo")) == 'File "a.txt":\n```\none\ntwo\n```\n'
    assert text_part(attach("a", b"")) == 'File "a":\n```\n```\n'


HOSTILE = st.lists(
    st.sampled_from(["`", "```", "````", "~~~", "\n", "\r", "\r\n", " ", "\t", "File", '"x":', "é"])
    | st.sampled_from(["\u2028", "\x0b", "\x0c", "\x1b", "\x85", "</file>", "# ", "> ", "- "]),
    max_size=25,
).map("".join)


@MODEST
@given(any_text | HOSTILE, HOSTILE | st.text(max_size=20).filter(lambda text: "\0" not in text))
def test_what_a_file_holds_never_ends_its_part(name: str, content: str) -> None:
    part = text_part(attach(name, content.encode()))
    whole = content if content.endswith("\n") or not content else f"{content}\n"
    assert first_code_block(part + "\nand on") == whole
    # A Markdown reader of another house sees one line of a name, one block, and the text after it.
    kinds = [token.type for token in MarkdownIt().parse(f"{part}\nand on")]
    paragraph = ["paragraph_open", "inline", "paragraph_close"]
    assert kinds == [*paragraph, "fence", *paragraph]


@MODEST
@given(any_text | HOSTILE)
def test_a_name_is_one_line_whatever_it_holds(name: str) -> None:
    first, fence, end, rest = text_part(attach(name, b"")).split("\n")
    assert first.startswith('File "')
    assert first.endswith('":')
    assert first.isprintable() or not re.search(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202e]", first)
    assert (fence, end, rest) == ("```", "```", "")


def test_a_file_is_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(bytes(range(256)) * 10_000)
    assert read_attached_file(str(path), max_file_mib=3) == bytes(range(256)) * 10_000


def test_a_file_of_the_size_allowed_is_read_and_one_byte_more_refused(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(bytes(1 << 19))
    assert len(read_attached_file(str(path), max_file_mib=0.5)) == 1 << 19
    path.write_bytes(bytes((1 << 19) + 1))
    with pytest.raises(UsageError, match=r"0\.5 MiB") as caught:
        read_attached_file(str(path), max_file_mib=0.5)
    assert caught.value.code == "file_too_large"


def test_what_stdin_gave_is_held_against_the_same_cap() -> None:
    check_size("-", 1 << 20, 1)
    with pytest.raises(UsageError, match="max_file_mib"):
        check_size("-", (1 << 20) + 1, 1)


def test_a_device_without_an_end_is_cut_off_at_the_cap() -> None:
    with pytest.raises(UsageError, match="larger than max_file_mib") as caught:
        read_attached_file("/dev/zero", max_file_mib=1)
    assert caught.value.code == "file_too_large"


def test_an_empty_device_is_an_empty_file() -> None:
    assert read_attached_file("/dev/null", max_file_mib=1) == b""


def test_a_pipe_is_read_to_its_end(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    writer = threading.Thread(target=lambda: fifo.write_bytes(b"x" * 300_000))
    writer.start()
    assert read_attached_file(str(fifo), max_file_mib=1) == b"x" * 300_000
    writer.join()


def test_a_process_substitution_is_read_to_its_end() -> None:
    read, write = os.pipe()
    os.write(write, b"from a command")
    os.close(write)
    try:
        assert read_attached_file(f"/dev/fd/{read}", max_file_mib=1) == b"from a command"
    finally:
        os.close(read)


def test_a_pipe_that_nobody_writes_ends_with_the_time_allowed(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(UsageError) as caught:
        read_attached_file(str(tmp_path / "fifo"), max_file_mib=1, timeout_s=0.05)
    assert caught.value.code == "file_timeout"


def test_a_pipe_that_never_ends_ends_with_the_time_allowed() -> None:
    read, write = os.pipe()
    os.write(write, b"begun")
    try:
        with pytest.raises(UsageError) as caught:
            read_attached_file(f"/dev/fd/{read}", max_file_mib=1, timeout_s=0.05)
    finally:
        os.close(read)
        os.close(write)
    assert caught.value.code == "file_timeout"


def _missing(folder: Path) -> str:
    return str(folder / "mis\nsing")


def _folder(folder: Path) -> str:
    return str(folder)


def _endless_link(folder: Path) -> str:
    (folder / "loop").symlink_to(folder / "loop")
    return str(folder / "loop")


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (_missing, "No such file"),
        (_folder, "is a folder"),
        (_endless_link, "symbolic link"),
        (lambda _: "a\0b", "a NUL in its name"),
        (lambda _: "", "No such file"),
    ],
)
def test_what_is_no_file_is_a_usage_error(
    tmp_path: Path, make: Callable[[Path], str], said: str
) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        read_attached_file(make(tmp_path), max_file_mib=1)
    assert caught.value.code == "bad_file"
    assert caught.value.line().isprintable()


@pytest.mark.parametrize(
    ("url", "line"),
    [
        ("https://example.com/a.png", "curl -fsSL https://example.com/a.png | pipechat ask -f -"),
        ("HTTP://example.com/?a=1&b=2", "curl -fsSL 'HTTP://example.com/?a=1&b=2' | "),
        ("file:///etc/hostname", "curl -fsSL file:///etc/hostname | "),
        ("https://x/'; rm -rf ~", """curl -fsSL 'https://x/'"'"'; rm -rf ~' | """),
        ("https://x/a\nb", "a^Jb"),
    ],
)
def test_a_url_is_refused_with_the_line_that_would_do_it(url: str, line: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_attached_file(url, max_file_mib=1)
    assert caught.value.code == "bad_file"
    assert line in caught.value.line()
    assert caught.value.line().isprintable()


def test_a_data_url_is_refused_too() -> None:
    with pytest.raises(UsageError, match="takes files"):
        read_attached_file("data:text/plain;base64,eA==", max_file_mib=1)
