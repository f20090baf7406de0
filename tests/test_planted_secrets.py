"""Secrets go out to where they are for, and are found in nothing that any command leaves behind:
stdout, stderr, events, records, recordings, caches, outputs of batches and their journals.

What every `program` is checked for at its end finds them; here they are planted, and sent.
"""

import base64
import json
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote, unquote_plus

import pytest

from tests.program import PLANTED_HEADER, PLANTED_KEY, PLANTED_QUERY, Program, Result
from tests.servers import (
    Batches,
    ChatServer,
    HttpProxy,
    Reply,
    Request,
    answer,
    error_reply,
    json_reply,
    self_signed,
    write_certificate,
    write_key,
)
from tests.servers.dialects import End, Text, spoken

pytestmark = pytest.mark.in_process

LOGIN = ("planted-user", PLANTED_HEADER)
SIGNED = f"sig={quote(PLANTED_QUERY, safe='')}"
_DEPLOYMENT = "/openai/deployments/mine"
FORMATS = ("text", "ndjson")


class Shape(NamedTuple):
    """An endpoint as config.toml has it, and what a request must have brought."""

    config: str
    brings: Callable[[Request], bool]
    server: ChatServer
    env: Mapping[str, str | None] = {}
    private: bytes = b""


def brings_all(request: Request, *, key: str = "authorization") -> bool:
    headers = request.headers
    return (
        PLANTED_KEY in headers[key]
        and headers["x-gateway"] == PLANTED_HEADER
        and PLANTED_QUERY in unquote_plus(request.path)
    )


HEADERS = f'[headers]\nX-Gateway = "{PLANTED_HEADER}"\n'
COMMAND = 'api_key_command = "echo $KEY_OF_THE_COMMAND"\n'


@contextmanager
def a_gateway(folder: Path) -> Iterator[Shape]:
    """It wants a header, a client certificate, a query and a key."""
    ca, key = folder / "ca.pem", folder / "own.key"
    write_certificate(ca)
    write_key(key)
    with ChatServer(answer("Hi"), tls=self_signed(asks=True)) as server:
        files = f'cacert = "{ca}"\nclient_cert = "{ca}"\nclient_key = "{key}"\n'
        url = f'base_url = "{server.url}?{SIGNED}"\n'
        private = key.read_bytes().splitlines()[1]
        yield Shape(COMMAND + url + files + HEADERS, brings_all, server, private=private)


@contextmanager
def an_azure(_: Path) -> Iterator[Shape]:
    """An older deployment: path, version and a query, and the key in a header of its own."""

    def brings(request: Request) -> bool:
        path, _, query = request.path.partition("?")
        is_there = path.startswith(_DEPLOYMENT)
        versioned = "api-version=2024-10-21" in query and "authorization" not in request.headers
        return is_there and versioned and brings_all(request, key="api-key")

    with ChatServer(answer("Hi")) as server:
        url = f'base_url = "{server.origin()}{_DEPLOYMENT}?{SIGNED}"\n'
        more = 'api_version = "2024-10-21"\nauth = "api-key"\n'
        yield Shape(COMMAND + url + more + HEADERS, brings, server)


@contextmanager
def a_socket(_: Path) -> Iterator[Shape]:
    """A server on a Unix socket, whose path must be short."""
    with (
        tempfile.TemporaryDirectory(prefix="pc") as folder,
        ChatServer(answer("Hi"), socket_path=f"{folder}/s.sock") as server,
    ):
        url = f'base_url = "{server.url}:/v1?{SIGNED}"\n'
        yield Shape(COMMAND + url + HEADERS, brings_all, server)


@contextmanager
def behind_a_proxy(_: Path) -> Iterator[Shape]:
    """A server behind a proxy that wants a password."""
    with (
        ChatServer(answer("Hi")) as server,
        HttpProxy(names={"far.invalid": ("127.0.0.1", server.port)}, auth=LOGIN) as proxy,
    ):
        url = f'base_url = "http://far.invalid:{server.port}/v1?{SIGNED}"\n'
        env = {"HTTP_PROXY": proxy.url_with_login, "HTTPS_PROXY": proxy.url_with_login}
        yield Shape(COMMAND + url + "insecure_http = true\n" + HEADERS, brings_all, server, env)
        assert proxy.requests


SHAPES = {
    "gateway": a_gateway, "azure": an_azure, "socket": a_socket, "proxy": behind_a_proxy,
}  # fmt: skip
ITEMS = b'{"id": "a", "question": "one"}\n{"id": "b", "question": "two"}\n'


class Desk:
    """The program in a folder, with an endpoint in its config.toml."""

    def __init__(self, program: Program, shape: Shape, folder: Path) -> None:
        self.program = program
        self.shape = shape
        self.folder = folder
        folder.mkdir()
        (folder / "in.ndjson").write_bytes(ITEMS)
        config = program.home / "config.toml"
        config.write_text(shape.config)
        config.chmod(0o600)

    def run(self, words: str, *, status: int | None = 0) -> Result:
        """Run a command, which must end with `status`; None: in any way, but by a bug."""
        env = {"OPENAI_API_KEY": None, "KEY_OF_THE_COMMAND": PLANTED_KEY, **self.shape.env}
        input = b"hello\nQUIT\n" if words.startswith("chat") else b""
        result = self.program.run(
            *words.split(), input=input, env=env, cwd=self.folder, events=False
        )
        told = result.stdout + result.stderr
        assert result.status == status or (status is None and result.status != 1), (words, told)
        return result

    def left(self) -> list[bytes]:
        """All that was written, and all that lies in files, but for config.toml."""
        paths = [path for path in self.program.home.parent.rglob("*") if path.is_file()]
        files = [path.read_bytes() for path in paths if path.name != "config.toml"]
        return [*self.program.written, *files]


ASKS = [
    f"ask --output-format {form} {more} --session s{form} hello"
    for form in FORMATS
    for more in ("-v", "--api=responses -v", "--no-stream", "--usage")
]
REST = [
    "ask -v --record rec hello",
    "ask -v --replay rec hello",
    "ask --dry-run hello",
    "ask -v -m of-the-other-api hello",
    "ask -o answer.txt --once k --session once hello",
    "chat -v --session talk",
    "batch run in.ndjson -o out.jsonl -v --record rec-batch",
    "batch run in.ndjson -v --events",
    "batch submit in.ndjson -o far.jsonl -v --output-format json",
    "batch status far.jsonl -v --output-format json",
    "batch fetch far.jsonl -v --output-format json",
    "batch submit in.ndjson -o off.jsonl -v",
    "batch cancel off.jsonl -v",
    "models -v",
    "models --output-format ndjson",
    "doctor --ask",
    "doctor --output-format json",
    "config show",
    "config show --output-format json",
    "history list",
    "history show stext --output-format ndjson",
    "--version --verbose",
]

REFUSED = [
    "ask -v --record rec-bad hello",
    "chat -v",
    "batch run in.ndjson -o bad.jsonl -v --record rec-bad",
    "batch run in.ndjson -v --events",
    "batch submit in.ndjson -o bad-far.jsonl -v --output-format json",
    "batch status off.jsonl -v",
    "batch fetch off.jsonl -v --output-format json",
    "models -v",
    "models --output-format ndjson",
    "doctor --ask",
    "doctor --output-format json",
]


def well(batches: Batches, request: Request) -> Reply:
    """A server with all that is asked of it, which names each request by what it must not say."""
    path = request.path.partition("?")[0]
    if path.endswith("/models"):
        return json_reply(200, {"data": [{"id": "gpt-5.4-mini"}, {"id": "other"}]})
    if "/files" in path or "/batches" in path:
        return batches(replace(request, path=request.path.replace(_DEPLOYMENT, "/v1")))
    api = "responses" if path.endswith("/responses") else "chat"
    if api == "chat" and request.body["model"] == "of-the-other-api":
        return error_reply(404, "This model is only supported in v1/responses.")
    headers = {"x-request-id": f"req-{PLANTED_HEADER}", "deprecation": "true"}
    return spoken(api, Text("H"), Text("i"), End(), headers=headers)


def says_it_back(request: Request) -> Reply:
    """A refusal that says everything that came."""
    said = f"{request.path} {unquote_plus(request.path)} {json.dumps(request.headers)}"
    status = 503 if request.number % 2 else 400
    return error_reply(status, said, type=PLANTED_QUERY, code=PLANTED_HEADER)


@pytest.mark.parametrize("shape", SHAPES)
def test_what_goes_out_is_found_in_nothing_that_a_command_leaves(
    program: Program, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, shape: str
) -> None:
    with ExitStack() as stack:
        there = stack.enter_context(SHAPES[shape](tmp_path_factory.mktemp("pems")))
        desk = Desk(program, there, tmp_path / "desk")
        there.server.play(partial(well, Batches()))
        for words in (*ASKS, *REST):
            desk.run(words)
        assert [each.path for each in there.server.requests if not there.brings(each)] == []
        assert len(there.server.requests) > 20
        there.server.play(says_it_back)
        for words in (*ASKS, *REFUSED):
            desk.run(words + (" --retries=1" if " -v" in words else ""), status=None)
        hidden = [base64.b64encode(":".join(LOGIN).encode()), LOGIN[0].encode()]
        for written in desk.left():
            assert not [each for each in (*hidden, there.private) if each and each in written]
