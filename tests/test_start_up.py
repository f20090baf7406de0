"""What a start costs, without a clock: what each command imports, and writes of a chunk."""

import os
import py_compile
import subprocess
import sys
import time
from importlib.util import cache_from_source
from pathlib import Path
from typing import Any

import pytest

from pipechat.environment import Output
from pipechat.events import Chunk, Sink, Start
from pipechat.main import COMMANDS
from pipechat.show.sinks import NdjsonSink, TextSink
from pipechat.turn.reducer import TurnReducer
from pipechat.turn.run import TurnRun
from tests.program import Program
from tests.servers import ChatServer, answer
from tests.servers.dialects import APIS, End, Text, document, spoken
from tests.servers.tls import self_signed, write_certificate

pytestmark = pytest.mark.cold

ROOT = Path(__file__).resolve().parent.parent
HEAVY = {"openai", "httpx2", "httpcore2", "pydantic", "anyio", "asyncio", "ssl", "rich", "click"}
START = Start("id", "time", None, "model", 0, 0)


_TELLS_MODULES = """
import os, sys

leave = os._exit

def told(status):
    with open({path!r}, "w") as file:
        file.write("\\n".join(sys.modules))
    leave(status)

os._exit = told
"""


def imported(program: Program, *arguments: str, says: bytes | None = None) -> set[str]:
    """What is in `sys.modules` of a process at its end; imports by name are among it."""
    path = program.home / "modules"
    env = program.at_start("tells-modules", _TELLS_MODULES.format(path=str(path)))
    result = program.run(*arguments, env=env)
    assert (result.status, result.stdout) == (0, result.stdout if says is None else says), (
        result.stderr
    )
    return set(path.read_text().split())


def commands_of(modules: set[str]) -> set[str]:
    """Those of `modules` that are a command, or that commands of a group are in."""
    names = {name.removeprefix("pipechat.commands.") for name in modules}
    return names & {*COMMANDS, "history_list", "history_search", "history_export",
                    "history_import", "history_edit"}  # fmt: skip


@pytest.mark.parametrize(
    "arguments",
    [
        ("--version",),
        ("--help",),
        ("ask", "--help"),
        ("ask", "--help-env"),
        ("completion", "bash"),
        ("ask", "--dry-run", "hello"),
        ("history", "list"),
        ("history", "path"),
        ("schema", "event"),
    ],
)
def test_a_command_that_asks_no_model_imports_no_sdk(
    program: Program, arguments: tuple[str, ...]
) -> None:
    assert {name.partition(".")[0] for name in imported(program, *arguments)} & HEAVY == set()


def test_a_command_does_not_import_what_the_others_need(program: Program) -> None:
    listed = imported(program, "history", "list")
    assert "pipechat.show.transcript" in listed
    assert not listed & {"pipechat.turn.conversation", "pipechat.show.sinks"}
    assert commands_of(listed) == {"history", "history_list"}
    asked = imported(program, "ask", "--offline", "--session", "s", "hello")
    assert "pipechat.turn.conversation" in asked
    assert not asked & {
        "pipechat.show.transcript",
        "pipechat.store.rewrite",
        "pipechat.store.search",
    }


# What a plain import of the SDK and of its HTTP library brings, and a question does not use.
UNUSED = {
    "_bz2",
    "_lzma",
    "aiohttp",
    "anyio.streams.tls",
    "asyncio.base_events",
    "concurrent.futures",
    "csv",
    "email.feedparser",
    "encodings.idna",
    "h2.config",
    "idna.core",
    "importlib.metadata",
    "openai._module_client",
    "openai.lib.azure",
    "openai.lib.bedrock",
    "openai.providers",
    "openai.types.chat.chat_completion",
    "socksio",
    "truststore._api",
    "zipfile",
}


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_question_imports_of_the_sdk_what_it_uses(program: Program, scheme: str) -> None:
    trusted = ("--cacert", str(write_certificate(program.home / "ca.pem")))
    tls = self_signed() if scheme == "https" else None
    with ChatServer(lambda _: answer("Once"), tls=tls) as server:
        asked = imported(program, "ask", "--base-url", server.url, *trusted, "hello")
    assert {"openai._client", "httpcore2._sync.connection"} <= asked
    assert asked & UNUSED == set()


_COUNTED = """
import dataclasses, sys
real, made = dataclasses._process_class, []
def counted(cls, *rest):
    made.append(cls.__module__)
    return real(cls, *rest)
dataclasses._process_class = counted
import pipechat.main, pipechat.commands.ask, pipechat.client.chat_client, pipechat.store.keeper
print(sum(name.startswith("pipechat") for name in made))
"""


def test_a_start_makes_few_dataclasses() -> None:
    # A frozen dataclass takes 0.35 ms to make, a NamedTuple 0.05.
    done = subprocess.run(
        [sys.executable, "-c", _COUNTED], capture_output=True, check=True, timeout=60
    )
    assert 0 < int(done.stdout) <= 8


def test_neither_the_version_nor_history_imports_what_asking_needs(program: Program) -> None:
    for arguments in (("--version",), ("history", "list"), ("schema", "turn")):
        asked = imported(program, *arguments)
        assert not asked & {"pipechat.settings.table", "pipechat.turn.run"}, arguments


@pytest.mark.parametrize(
    ("arguments", "needed"),
    [
        ("--version", ""),
        ("--help", ""),
        ("history path", "history"),
        ("history list", "history history_list"),
        ("history search --help", "history history_search"),
        ("batch run --help", "batch"),
        ("usage --help", "usage"),
    ],
)
def test_no_command_is_imported_but_the_one_that_is_run(
    program: Program, arguments: str, needed: str
) -> None:
    assert commands_of(imported(program, *arguments.split())) == set(needed.split())


@pytest.mark.parametrize(("kind", "more"), [(TextSink, 1), (NdjsonSink, 2)], ids=["text", "ndjson"])
def test_a_chunk_is_one_write(monkeypatch: pytest.MonkeyPatch, kind: type[Sink], more: int) -> None:
    written: list[bytes] = []
    reader, writer = os.pipe()
    real = os.write

    def counted(fd: int, data: bytes) -> int:
        if fd == writer:
            written.append(bytes(data))
        return real(fd, data)

    class Recorder:
        id = "id"

        def head(self, turn: object) -> None:
            assert turn

        def abandon(self) -> None:
            assert not written

        def text(self, text: str) -> None:
            assert text

        def finish(self, terminal: object) -> None:
            assert terminal

    monkeypatch.setattr(os, "write", counted)
    chunks = [*(Chunk(text=f"{number} ") for number in range(50)), Chunk(finish_reason="stop")]
    sink = kind(Output(writer, name="stdout"))  # type: ignore[call-arg]  # because Sink is a protocol
    kept: Any = Recorder()
    TurnRun(TurnReducer(time.monotonic), kept, lambda _end: kept, sink).run(START, chunks)
    os.close(reader)
    os.close(writer)
    assert len(written) == 50 + more  # text: the newline; ndjson: start and end


# Of ours, what an ask needs; room by room.
NEEDED = {
    "chat": "wire.chat_completions",
    "responses": "wire.responses wire.responses_output wire.responses_reader",
    "any": """
        environment errors events jsonl late_imports main messages quick_imports signals stdin text
        client client.advice client.chat_client client.deadlines client.exchange client.reading
        client.ahead client.request_form client.retries
        commands commands.accounts commands.app commands.ask commands.loading commands.options
        commands.reporting commands.showing commands.stores commands.telling commands.wiring
        settings settings.config settings.destination settings.endpoint settings.headers
        settings.json_values settings.key settings.layers settings.learned settings.named_file
        settings.proxy settings.resolve settings.secrets settings.table settings.values settings.way
        show show.sinks
        turn turn.context turn.conversation turn.endings turn.in_memory turn.prompt turn.reducer
        turn.request_hash turn.run turn.surrogates
        wire wire.api_errors wire.body wire.dialect wire.error_body wire.origin wire.sse
    """,
    "network": """
        client.certificates client.inflating client.lazy_openai client.network_errors
        client.own_headers client.proxy_way client.put_off client.reexports client.sdk_sender
        client.trust client.unix_socket settings.cached_note
    """,
    "learning": "settings.learned_api",
    "accounts": "ledger ledger.account ledger.bounds store store.locked_file store.locks",
    "connecting": "client.frames client.handed_over",
    "recording": """
        client.near_request client.record_replay client.recording
        commands.own_files commands.recordings
        store store.faults store.layout store.locked_file store.locks store.names
    """,
}
WAYS = {
    "live": ({"any", "network", "learning", "accounts", "connecting"}, ()),
    "recorded": ({"any", "network", "recording", "accounts"}, ("--record",)),
    "replayed": ({"any", "recording"}, ("--replay",)),
}
OF_THE_NETWORK = {"openai", "httpx2", "httpcore2", "pydantic", "anyio", "ssl", "socket", "asyncio"}
NEVER = {"rich", "click", "jinja2", "jsonschema_rs", "markdown_it", "prompt_toolkit",
         "aiohttp", "ray", "requests", "numpy"}  # fmt: skip


@pytest.mark.parametrize("streamed", [True, False], ids=["streamed", "at once"])
@pytest.mark.parametrize("api", APIS)
def test_what_is_imported_is_what_is_needed_live_recorded_and_replayed(
    program: Program, api: str, streamed: bool
) -> None:
    reply = spoken(api, Text("Hi"), End()) if streamed else document(api, "Hi")
    with ChatServer(reply) as server:
        ask = ["ask", "hello", "--api", api, "--base-url", server.url]
        ask += [] if streamed else ["--no-stream"]
        for way, (parts, option) in WAYS.items():
            more = (*option, str(program.home / "recording")) if option else ()
            found = imported(program, *ask, *more, says=b"Hi\n")
            ours = {name for name in found if name.partition(".")[0] == "pipechat"}
            needed = [name for part in {api, *parts} for name in NEEDED[part].split()]
            assert ours == {"pipechat", *(f"pipechat.{name}" for name in needed)}, way
            tops = {name.partition(".")[0] for name in found}
            assert not tops & NEVER, way
            of_openai = {name for name in found if name.startswith("openai.")}
            assert not {name for name in of_openai if name.startswith("openai.resources.")}, way
            assert len({name for name in of_openai if name.startswith("openai.types.")}) < 20, way
            assert tops & OF_THE_NETWORK == (set() if way == "replayed" else OF_THE_NETWORK), way


@pytest.mark.parametrize(
    ("module", "words"),
    [
        ("store.importing", ("history", "import", "talk.json")),
        ("ledger.spending", ("usage",)),
        ("turn.conversation", ("ask", "--offline", "hello")),
    ],
)
def test_a_module_that_a_full_disk_cut_is_told_as_a_fault_of_the_program(
    program: Program, tmp_path: Path, module: str, words: tuple[str, ...]
) -> None:
    source = ROOT / "pipechat" / f"{module.replace('.', '/')}.py"
    kept = (
        tmp_path / "cache" / cache_from_source(str(source)).lstrip("/").replace("__pycache__/", "")
    )
    py_compile.compile(str(source), str(kept), doraise=True)
    os.truncate(kept, 200)
    (tmp_path / "talk.json").write_text('[{"role":"user","content":"Hi"}]')
    env = {"PYTHONPYCACHEPREFIX": str(tmp_path / "cache")}
    result = program.run(*words, env=env, cwd=tmp_path, events=False)
    assert (result.status, result.code) == (1, "bug")
