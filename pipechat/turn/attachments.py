"""Files that go along with a question: what they are, and the part of a message each becomes. Pure.

What a file is, its bytes say and not its name. The bytes are handed in (`attached_files` reads
them); the record tells name, size, hash and type, never the content.
"""

import base64
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from pipechat.errors import UsageError
from pipechat.jsonl import dumps
from pipechat.text import visible_json, visible_line, whole_text

Part = dict[str, Any]
"""One part of a message's content, as Chat Completions has it."""

_TEXT = "text/plain"
_PDF = "application/pdf"
# (the beginning, what follows at an offset, media type); PDFs and text are told otherwise.
_IMAGES = (
    (b"\x89PNG\r\n\x1a\n", b"", 0, "image/png"),
    (b"\xff\xd8\xff", b"", 0, "image/jpeg"),
    (b"GIF87a", b"", 0, "image/gif"),
    (b"GIF89a", b"", 0, "image/gif"),
    (b"RIFF", b"WEBP", 8, "image/webp"),
)
_CONVERT_PICTURE = "Convert it to PNG, JPEG, WebP or GIF."
_CONVERT_TEXT = "Convert it to UTF-8: iconv -f UTF-16 -t UTF-8."
_UNPACK = "Unpack it and give the files in it."
# What else a file may be, told so that its owner knows what to do: (at, bytes, what, hint).
_OTHERS = (
    (0, b"\xff\xfe\x00\x00", "text in UTF-32", _CONVERT_TEXT),
    (0, b"\xff\xfe", "text in UTF-16", _CONVERT_TEXT),
    (0, b"\xfe\xff", "text in UTF-16", _CONVERT_TEXT),
    (0, b"PK\x03\x04", "a ZIP archive or an Office document", "Unpack it, or convert it to PDF."),
    (0, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Office document", "Convert it to PDF."),
    (0, b"\x1f\x8b", "compressed by gzip", _UNPACK),
    (0, b"BZh", "compressed by bzip2", _UNPACK),
    (0, b"\xfd7zXZ\x00", "compressed by xz", _UNPACK),
    (0, b"\x28\xb5\x2f\xfd", "compressed by zstd", _UNPACK),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive", _UNPACK),
    (257, b"ustar", "a tar archive", _UNPACK),
    (0, b"BM", "a BMP image", _CONVERT_PICTURE),
    (0, b"II*\x00", "a TIFF image", _CONVERT_PICTURE),
    (0, b"MM\x00*", "a TIFF image", _CONVERT_PICTURE),
    (4, b"ftypheic", "a HEIC image", _CONVERT_PICTURE),
    (4, b"ftypavif", "an AVIF image", _CONVERT_PICTURE),
    (4, b"ftyp", "a video or sound (MP4)", ""),
    (8, b"WAVE", "sound (WAV)", ""),
    (0, b"ID3", "sound (MP3)", ""),
    (0, b"OggS", "sound or a video (Ogg)", ""),
    (0, b"\x7fELF", "a program (ELF)", ""),
    (0, b"SQLite format 3\x00", "an SQLite database", "Give what a query prints."),
)
_LINE_ENDS = {0x2028: "\\u2028", 0x2029: "\\u2029", 0x7F: "\\u007f"}


@dataclass(frozen=True, slots=True)
class Attachment:
    """One file of a question. `size` is in bytes, `sha256` in hexadecimal."""

    name: str
    size: int
    sha256: str
    media_type: str
    data: bytes = field(repr=False)

    def record(self) -> dict[str, str | int]:
        """What the record tells of it: never the content."""
        return {
            "name": self.name,
            "bytes": self.size,
            "sha256": self.sha256,
            "media_type": self.media_type,
        }


def attach(name: str, data: bytes) -> Attachment:
    """The file `name` with the bytes `data`, as what it is.

    Raises:
        UsageError: `bad_file`: neither text nor a picture nor a PDF, with what it is.
    """
    name = whole_text(name)
    media_type = _media_type(data)
    if media_type is None:
        what, hint = _other(data)
        hint = hint or "Text in UTF-8, PNG, JPEG, WebP, GIF and PDF can be sent."
        raise UsageError("bad_file", f"{visible_line(name)} cannot be sent: it is {what}", hint)
    return Attachment(name, len(data), hashlib.sha256(data).hexdigest(), media_type, data)


def _media_type(data: bytes) -> str | None:
    if re.match(rb"(?:\xef\xbb\xbf)?\s*%PDF-\d", data):
        return _PDF
    if _text_ends_at(data) is None:  # before the images: a text may begin with GIF89a
        return _TEXT
    for beginning, more, at, media_type in _IMAGES:
        if data.startswith(beginning) and data.startswith(more, at):
            return media_type
    return None


def _text_ends_at(data: bytes) -> int | None:
    """The offset of the first byte that is no text (UTF-8 without NUL), or None."""
    try:
        data.decode()
    except UnicodeDecodeError as error:
        nul = data.find(b"\x00", 0, error.start)
        return nul if nul >= 0 else error.start
    nul = data.find(b"\x00")
    return nul if nul >= 0 else None


def _other(data: bytes) -> tuple[str, str]:
    for at, beginning, what, hint in _OTHERS:
        if data.startswith(beginning, at):
            return what, hint
    offset = _text_ends_at(data) or 0
    what = f"binary (byte 0x{data[offset]:02x} at offset {offset}) of a kind unknown here"
    return what, "" if data[offset] == 0 else "If it is text, convert it to UTF-8 (iconv)."


def text_part(attachment: Attachment) -> str:
    """A text file as a part of a question: its name, and its content in a fenced block.

    The fence is longer than any row of backticks in the content, so nothing in it ends the block
    (CommonMark 4.5); the name is a JSON string on a line of its own.
    """
    content = attachment.data.decode()
    longest = max(map(len, re.findall("`+", content)), default=0)
    fence = "`" * max(3, longest + 1)
    end = "" if not content or content.endswith("\n") else "\n"
    name = visible_json(dumps(attachment.name).decode()).translate(_LINE_ENDS)
    return f"File {name}:\n{fence}\n{content}{end}{fence}\n"


def chat_part(attachment: Attachment) -> Part:
    """The part of a message of Chat Completions that `attachment` is."""
    if attachment.media_type == _TEXT:
        return {"type": "text", "text": text_part(attachment)}
    encoded = base64.b64encode(attachment.data).decode("ascii")
    url = f"data:{attachment.media_type};base64,{encoded}"
    if attachment.media_type == _PDF:
        filename = visible_line(attachment.name.rpartition("/")[2])
        return {"type": "file", "file": {"filename": filename, "file_data": url}}
    return {"type": "image_url", "image_url": {"url": url}}


def with_texts(question: str, attachments: Sequence[Attachment]) -> str:
    """The question with its text files behind it, as one text."""
    texts = [text_part(each) for each in attachments if each.media_type == _TEXT]
    return "\n\n".join([question, *texts])


def question_content(question: str, attachments: Sequence[Attachment]) -> str | list[Part]:
    """The content of a user's message: the question, then its files in their order."""
    if not attachments:
        return question
    first: list[Part] = [{"type": "text", "text": question}] if question.strip() else []
    return first + [chat_part(attachment) for attachment in attachments]
