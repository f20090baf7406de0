"""-o: a file appears whole or not at all; what is open or no file is written in place; an answer
that was paid for is not thrown away."""

import errno
import fcntl
import json
import os
import pty
import stat
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipechat.errors import OutputError
from pipechat.show.files import FileOutput, open_in_place
from tests.program import Program, Result
from tests.pseudo_terminal import read_to_end
from tests.servers import ChatServer, Mark, WaitFor, answer, chunk, stream_reply

FORMATS = ("text", "json", "ndjson")
ANSWER = "The answer."


def in_bash(program: Program, server: ChatServer, line: str, cwd: Path) -> Result:
    """Run a line of bash in which `ask` asks the server, and wait for all that it started."""
    ask = f'"$python" -m pipechat ask --no-stdin --base-url {server.url} hello "$@"'
    script = f"python=$1; set -o pipefail; ask() {{ {ask}; }}; {line}"
    done = subprocess.run(
        ["bash", "-c", script, "bash", program.python],
        capture_output=True, env=program.environ(), timeout=60, check=False, cwd=cwd,
    )  # fmt: skip
    result = Result(done.returncode, done.stdout, done.stderr)
    program.written += [result.stdout, result.stderr]
    return result


def answer_in(data: bytes, output_format: str) -> str:
    """The answer that was written in this format."""
    if output_format == "text":
        return data.decode().removesuffix("\n")
    last: str = json.loads(data.splitlines()[-1])["answer"]
    return last


IN_PLACE = {
    "/dev/stdout": "ask -o /dev/stdout {} | cat",
    "/dev/fd/1": "ask -o /dev/fd/1 {} | cat",
    "/proc/self/fd/1": "ask -o /proc/self/fd/1 {} | cat",
    "a dash": "ask -o - {}",
    "a link": "ln -s /dev/stdout link; ask -o link {} | cat",
    "a substitution": "ask -o >(cat) {} | cat",
    "another descriptor": "ask -o /dev/fd/7 {} 7>&1 | cat",
    "a FIFO": "mkfifo fifo; ask -o fifo {} & cat fifo; wait $!",
    "a file that is open": ": >log; ask -o /dev/stdout {} >log; s=$?; cat log; exit $s",
}


@pytest.mark.parametrize("output_format", FORMATS)
@pytest.mark.parametrize("way", IN_PLACE)
def test_what_is_open_or_no_file_is_written_in_place(
    program: Program, way: str, output_format: str, tmp_path: Path
) -> None:
    with ChatServer(answer(ANSWER)) as server:
        line = IN_PLACE[way].format(f"--output-format {output_format}")
        result = in_bash(program, server, line, tmp_path)
    assert (result.status, answer_in(result.stdout, output_format)) == (0, ANSWER)
    assert {path.name for path in tmp_path.iterdir()} <= {"home", "link", "fifo", "log"}


@pytest.mark.parametrize("path", ["/dev/stdout", "/dev/fd/1", "-"])
def test_a_log_that_is_appended_to_keeps_what_it_holds(
    program: Program, path: str, tmp_path: Path
) -> None:
    (tmp_path / "log").write_text("before\n")
    with ChatServer(answer(ANSWER)) as server:
        result = in_bash(program, server, f"ask -o {path} >>log", tmp_path)
    assert (result.status, (tmp_path / "log").read_text()) == (0, f"before\n{ANSWER}\n")


@pytest.mark.parametrize("output_format", FORMATS)
@pytest.mark.parametrize(
    "line",
    [
        "ask -o /dev/fd/9",  # nothing is open there
        "ask -o /dev/fd/3 --session s",  # nothing but what pipechat opens itself
        "ask -o /dev/fd/7 7</dev/null",
        "ask -o /dev/stdout >&-",
        "ask -o /dev/stderr 2>&-",
        "true | ask 1<&0",
        "ask 7</dev/null >&7",
        "ask -o /dev/stdin </dev/null",
    ],
)
def test_what_is_not_open_for_writing_exits_11_and_nothing_is_sent(
    program: Program, line: str, output_format: str, tmp_path: Path
) -> None:
    with ChatServer(answer(ANSWER)) as server:
        line = line.replace("ask", f"ask --output-format {output_format}", 1)
        assert in_bash(program, server, line, tmp_path).status == 11
        assert server.requests == []


def test_help_into_a_stream_that_is_only_read_from_exits_11(program: Program) -> None:
    for arguments in (["--version"], ["ask", "--help"], ["history", "list"]):
        reading, writing = os.pipe()
        result = program.run(*arguments, stdout=reading)
        assert (result.status, result.code) == (11, "output_closed")
        os.close(reading)
        os.close(writing)


@pytest.mark.in_process
@pytest.mark.parametrize("output_format", FORMATS)
def test_a_fifo_that_nobody_reads_is_waited_for_no_longer_than_the_timeout(
    program: Program, output_format: str, tmp_path: Path
) -> None:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    with ChatServer(answer(ANSWER)) as server:
        ask = ("ask", "--base-url", server.url, "--output-format", output_format, "hello")
        result = program.run(*ask, "-o", path, "--timeout", "0.3")
        assert server.requests == []
    assert (result.status, result.code) == (11, "output_failed")
    assert b"nobody has read it for 0.3 s" in result.stderr


def test_a_fifo_without_a_reader_is_named_while_it_is_waited_for(
    program: Program, tmp_path: Path
) -> None:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    soon = program.shorter(quiet_reader=0.1)
    process = program.start("ask", "--offline", "--no-stdin", "-o", path, "hello", env=soon)
    assert process.stderr is not None
    lines = [process.stderr.readline() for _ in range(2)]
    assert f"pipechat: waiting for a reader of {path}\n".encode() in lines
    assert path.read_bytes().endswith(b"asked: hello\n")
    assert program.finish(process).status == 0


@pytest.mark.parametrize("raw", [False, True])
def test_a_terminal_named_by_o_obeys_no_model_either(program: Program, raw: bool) -> None:
    master, slave = pty.openpty()
    with ChatServer(answer("a\x1b[2Jb")) as server:
        ask = ("ask", "--base-url", server.url, "-o", os.ttyname(slave), "hello")
        result = program.run(*ask, *(["--raw"] if raw else []))
    os.close(slave)
    shown = read_to_end(master)
    os.close(master)
    assert (result.status, shown) == (0, b"a\x1b[2Jb\r\n" if raw else b"a^[[2Jb\r\n")


@pytest.mark.parametrize("output_format", FORMATS)
def test_a_cut_answer_in_place_has_its_terminal_event(
    program: Program, output_format: str, tmp_path: Path
) -> None:
    with ChatServer(stream_reply(chunk("cut"))) as server:
        line = f"ask -o /dev/fd/7 --output-format {output_format} 7>&1 >&2"
        result = in_bash(program, server, line, tmp_path)
    assert (result.status, answer_in(result.stdout, output_format)) == (6, "cut")


def fails_at_once(path: str) -> str:
    with pytest.raises(OutputError) as caught:
        FileOutput(path, 0o600)
    assert int(caught.value.exit_code) == 11
    return caught.value.message


def test_what_could_not_take_its_name_is_refused_at_once(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    fails_at_once(str(tmp_path))
    fails_at_once(f"{tmp_path}/new/")
    fails_at_once(f"{tmp_path}/{'x' * 300}")
    fails_at_once(f"{tmp_path}/loop")
    fails_at_once(f"{tmp_path}/missing/x")
    fails_at_once("")
    fails_at_once("/proc/version")  # a folder in which nothing can be made
    assert [path.name for path in tmp_path.iterdir()] == ["loop"]


def test_a_file_of_another_user_in_a_sticky_folder_is_refused_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "target"
    target.write_text("theirs")
    tmp_path.chmod(0o1777)
    monkeypatch.setattr(os, "geteuid", lambda: 4242)
    assert "another user's" in fails_at_once(str(target))
    tmp_path.chmod(0o777)
    FileOutput(str(target), 0o600).discard()
    assert target.read_text() == "theirs"


def test_a_file_that_is_mounted_by_itself_is_refused_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "target"
    target.write_text("mounted")
    real = os.stat

    def other_device(path: str) -> os.stat_result:
        found = real(path)
        if path != str(target):
            return found
        return os.stat_result((found[0], found[1], found.st_dev + 1, *found[3:10]))

    monkeypatch.setattr("pipechat.show.files.os.stat", other_device)
    assert "mounted" in fails_at_once(str(target))


def becomes_a_folder(target: Path) -> None:
    target.unlink(missing_ok=True)
    target.mkdir()


@pytest.mark.parametrize("output_format", FORMATS)
def test_a_whole_answer_whose_file_cannot_appear_is_kept_and_named(
    program: Program, output_format: str, tmp_path: Path
) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    begun, seen = threading.Event(), threading.Event()
    reply = stream_reply(chunk(ANSWER), Mark(begun), WaitFor(seen), chunk(finish_reason="stop"))
    with ChatServer(reply) as server:
        ask = ("ask", "--base-url", server.url, "-o", folder / "x", "--session", "s", "hello")
        process = program.start(*ask, "--output-format", output_format, stdin=subprocess.DEVNULL)
        assert begun.wait(30)
        becomes_a_folder(folder / "x")
        seen.set()
        result = program.finish(process)
    assert (result.status, result.code) == (11, "output_failed")
    (kept,) = [path for path in folder.iterdir() if path.is_file()]
    assert str(kept) in result.stderr.decode()
    assert answer_in(kept.read_bytes(), output_format) == ANSWER
    assert [record["status"] for record in program.records("s")] == ["complete"]


@pytest.mark.parametrize(
    "fail", [becomes_a_folder, lambda target: target.parent.chmod(0o500)], ids=["folder", "closed"]
)
def test_a_commit_that_fails_keeps_what_was_written(
    tmp_path: Path, fail: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    output = FileOutput(str(folder / "x"), 0o600)
    output.write(b"paid for")
    fail(folder / "x")
    if os.geteuid() == 0 and not (folder / "x").exists():  # permissions do not stop root

        def refused(_old: str, _new: str) -> None:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(os, "rename", refused)
    with pytest.raises(OutputError) as caught:
        output.commit()
    output.discard()
    (kept,) = [path for path in folder.iterdir() if path.is_file()]
    assert (kept.read_bytes(), str(kept) in caught.value.hint) == (b"paid for", True)


def breaks(call: str, error: int, after: int, patch: pytest.MonkeyPatch) -> None:
    """The disk of a file that is on its way fails `call` with `error`, once it was called so
    often; a write before that takes three bytes at most."""
    real, left = getattr(os, call), after

    def failing(fd: int, *more: Any) -> Any:
        nonlocal left
        if "/out/.x." not in os.readlink(f"/proc/self/fd/{fd}"):
            return real(fd, *more)
        left -= 1
        if left < 0:
            raise OSError(error, os.strerror(error))
        return real(fd, more[0][:3], *more[1:]) if more else real(fd)

    patch.setattr(os, call, failing)


@pytest.mark.in_process
@pytest.mark.parametrize("output_format", FORMATS)
@pytest.mark.parametrize(
    ("error", "after"), [(errno.ENOSPC, 0), (errno.EDQUOT, 0), (errno.EFBIG, 0), (errno.EIO, 1)]
)
def test_a_file_without_room_for_a_byte_is_told_before_anything_is_sent(
    program: Program, tmp_path: Path, output_format: str, error: int, after: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "x").write_text("before")
    breaks("pwrite", error, after, monkeypatch)  # after one that takes less than it was given
    with ChatServer(answer(ANSWER)) as server:
        ask = ("ask", "hello", "--base-url", server.url, "-o", folder / "x")
        result = program.run(*ask, "--output-format", output_format)
        assert not server.requests
    assert (result.status, result.code) == (11, "output_failed")
    assert [path.read_text() for path in folder.iterdir()] == ["before"]


BROKEN = [("write", errno.ENOSPC, 0), ("write", errno.EDQUOT, 2), ("fsync", errno.EIO, 0)]


@pytest.mark.in_process
@pytest.mark.parametrize("output_format", [*FORMATS, "extracted"])
@pytest.mark.parametrize(("call", "error", "after"), BROKEN)
@pytest.mark.parametrize("session", [(), ("--session", "s")], ids=["alone", "session"])
def test_an_answer_whose_file_breaks_on_the_way_is_on_stdout_once(
    program: Program, tmp_path: Path, output_format: str, session: tuple[str, ...],
    call: str, error: int, after: int, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    folder = tmp_path / "out"
    folder.mkdir()
    is_extracted = output_format == "extracted"
    more = ("--extract", "json") if is_extracted else ("--output-format", output_format)
    said = '{"n": 1}' if is_extracted else ANSWER
    breaks(call, error, after, monkeypatch)
    with ChatServer(answer(said, pieces=3)) as server:
        ask = ("ask", "hello", "--base-url", server.url, "-o", f"{folder}/x", *session)
        result = program.run(*ask, *more)
        assert len(server.requests) == 1
    assert (result.status, result.code) == (11, "output_failed")
    assert b"The answer is on stdout." in result.stderr
    if output_format == "ndjson":
        assert [event["type"] for event in result.events] == ["start", "chunk", "end"]
    shown = "text" if is_extracted else output_format
    assert answer_in(result.stdout, shown) == said
    assert not list(folder.iterdir())
    if session:
        assert [turn["answer"] for turn in program.records("s")] == [said]


@pytest.mark.parametrize("name", ["文" * 80, "é" * 120, "x" * 255, "👩‍💻" * 20, "a"])
def test_a_name_may_be_as_long_as_the_file_system_allows(tmp_path: Path, name: str) -> None:
    output = FileOutput(str(tmp_path / name), 0o640)
    (temporary,) = tmp_path.iterdir()
    assert len(os.fsencode(temporary.name)) < 140
    output.write(b"whole")
    output.commit()
    assert (tmp_path / name).read_bytes() == b"whole"
    assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o640


def test_a_descriptor_of_ours_is_nobodys_to_name(tmp_path: Path) -> None:
    session = os.open(tmp_path / "session", os.O_WRONLY | os.O_CREAT)
    with pytest.raises(OutputError):
        open_in_place(f"/dev/fd/{session}")
    os.set_inheritable(session, True)
    fd = open_in_place(f"/dev/fd/{session}")
    assert fd is not None
    assert fcntl.fcntl(fd, fcntl.F_GETFD) & fcntl.FD_CLOEXEC
    os.close(fd)
    os.close(session)
    assert open_in_place(str(tmp_path / "session")) is None
    assert open_in_place(str(tmp_path / "new")) is None
