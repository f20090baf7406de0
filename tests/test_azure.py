"""Azure's shape: its path, its query, its header, its variables; one question and many."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

import pytest

from pipechat.settings.resolve import resolve_settings
from pipechat.settings.secrets import Secret
from tests.program import PLANTED_KEY, PLANTED_QUERY, Program
from tests.servers import Batches, ChatServer, answer, error_reply
from tests.test_gateways import WAYS, failed, run

pytestmark = pytest.mark.in_process

AZURE_KEY = f"azure-{PLANTED_KEY}"
RESOURCE = "https://res.openai.azure.com"


def settled(config: Mapping[str, Any] | None = None, /, flag: str = "", **environ: str) -> Any:
    flags = {"base_url": flag} if flag else {}
    return resolve_settings(flags, environ, config or {})


@pytest.mark.parametrize("way", WAYS)
def test_azures_variables_name_the_endpoint_and_its_key(program: Program, way: str) -> None:
    with ChatServer(answer("Hi")) as server:
        env = {"AZURE_OPENAI_ENDPOINT": server.origin() + "/", "AZURE_OPENAI_API_KEY": AZURE_KEY}
        result = run(program, way, "-m", "deployment", env=env)
        assert result.status == 0, result.stderr
        request = server.requests[0]
    assert request.path == "/openai/v1/chat/completions"
    assert request.headers["api-key"] == AZURE_KEY
    assert "authorization" not in request.headers


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("by", ["url", "profile"])
def test_an_older_deployment_is_asked_with_its_version(program: Program, way: str, by: str) -> None:
    with ChatServer(answer("Hi")) as server:
        url = f"{server.origin()}/openai/deployments/mine"
        options: tuple[str, ...] = ("--base-url", f"{url}?api-version=2024-10-21")
        if by == "profile":
            (program.home / "config.toml").write_text(
                f'[profiles.p]\nbase_url = "{url}"\napi_version = "2024-10-21"\nauth = "api-key"\n'
            )
            options = ("--profile", "p")
        result = run(program, way, *options)
        assert result.status == 0, result.stderr
        request = server.requests[0]
    assert request.path == "/openai/deployments/mine/chat/completions?api-version=2024-10-21"
    assert ("api-key" in request.headers) == (by == "profile")


@pytest.mark.parametrize("way", WAYS)
def test_a_token_of_a_command_goes_as_bearer_where_that_is_said(program: Program, way: str) -> None:
    with ChatServer(answer("Hi")) as server:
        (program.home / "config.toml").write_text(
            f'[profiles.p]\nbase_url = "{server.origin()}/openai/v1"\nauth = "bearer"\n'
            'api_key_command = "echo entra-$OPENAI_API_KEY"\n'
        )
        assert run(program, way, "--profile", "p").status == 0
        headers = server.requests[0].headers
    assert headers["authorization"] == f"Bearer entra-{PLANTED_KEY}"
    assert "api-key" not in headers


@pytest.mark.parametrize("way", WAYS)
def test_the_query_of_a_base_url_goes_with_every_request(program: Program, way: str) -> None:
    quoted = PLANTED_QUERY.replace(" ", "%20").replace("+", "%2B").replace("/", "%2F")
    with ChatServer(error_reply(404, PLANTED_QUERY)) as server:
        result = run(program, way, "--base-url", f"{server.url}/?sig={quoted}&b=")
        path, _, query = server.requests[0].path.partition("?")
    assert path == "/v1/chat/completions"
    assert parse_qsl(query, keep_blank_values=True) == [("sig", PLANTED_QUERY), ("b", "")]
    code, message = failed(result, way)
    assert (code, "sig" in message) == ("not_found", False)


def test_the_providers_batch_engine_is_asked_in_the_same_way(program: Program) -> None:
    desk = Batches()
    rows = program.home.parent / "in.ndjson"
    rows.write_text('{"id": "a", "question": "hello"}\n')
    with ChatServer(desk) as server:
        given = ("--base-url", f"{server.url}?api-version=2024-10-21", "-H", "X-Team: red")
        out = program.home.parent / "out.jsonl"
        sent = program.run("batch", "submit", rows, "-o", out, *given)
        assert sent.status == 0, sent.stderr
        program.run("batch", "status", out, *given)
        requests = server.requests
    assert len(requests) > 2
    assert {request.headers["x-team"] for request in requests} == {"red"}
    assert all("api-version=2024-10-21" in request.path for request in requests)


@pytest.mark.parametrize(
    ("flag", "environ", "key"),
    [
        (f"{RESOURCE}/openai/v1", {}, "azure"),
        ("https://res.cognitiveservices.azure.com/openai/v1", {}, "azure"),
        (f"{RESOURCE}/openai/v1", {"PIPECHAT_API_KEY": "mine"}, "mine"),
        ("", {"AZURE_OPENAI_ENDPOINT": RESOURCE}, "azure"),
        ("", {"AZURE_OPENAI_ENDPOINT": "https://gateway.test/azure"}, "azure"),
        (f"{RESOURCE}/openai/v1", {"AZURE_OPENAI_ENDPOINT": RESOURCE}, "azure"),
        (f"{RESOURCE}/openai/v1?api-version=v1", {"AZURE_OPENAI_ENDPOINT": RESOURCE}, "azure"),
        ("", {"OPENAI_BASE_URL": f"{RESOURCE}/openai/v1"}, "vendor"),
        ("", {}, "vendor"),
        ("https://gateway.test/v1", {}, "vendor"),
        ("https://openai.azure.com.evil.test/v1", {}, "vendor"),
        ("https://gateway.test/v1", {"AZURE_OPENAI_ENDPOINT": RESOURCE}, "vendor"),
        ("https://other.openai.azure.com/v1", {"AZURE_OPENAI_ENDPOINT": RESOURCE}, "vendor"),
    ],
)
def test_azures_key_goes_to_its_own_endpoint_and_to_no_other(
    flag: str, environ: dict[str, str], key: str
) -> None:
    keys = {"OPENAI_API_KEY": "vendor", "AZURE_OPENAI_API_KEY": "azure"}
    settings = settled(flag=flag, **keys, **environ)
    assert settings.api_key == Secret(key)
    assert "azure" in settings.secrets


@pytest.mark.parametrize(
    ("url", "auth", "sent"),
    [
        (f"{RESOURCE}/openai/v1", None, "api-key"),
        ("https://res.services.ai.azure.com/openai/v1", None, "api-key"),
        (f"{RESOURCE}/openai/v1", "bearer", "bearer"),
        ("https://api.openai.com/v1", None, "bearer"),
        ("https://gateway.test/v1", None, "bearer"),
        ("https://gateway.test/v1", "api-key", "api-key"),
    ],
)
def test_the_key_goes_out_as_the_endpoint_wants_it(url: str, auth: str | None, sent: str) -> None:
    config = {"base_url": url, **({"auth": auth} if auth else {})}
    assert settled(config).auth == sent
    # What stands beside one endpoint says nothing of another.
    assert settled(config, flag="https://elsewhere.test/v1").auth == "bearer"


@pytest.mark.parametrize(
    ("url", "version", "query"),
    [
        ("https://h/v1", "2024-10-21", (("api-version", "2024-10-21"),)),
        ("https://h/v1?a=b", "v1", (("a", "b"), ("api-version", "v1"))),
        ("https://h/v1?api-version=old", "new", (("api-version", "old"),)),
        ("https://h/v1", None, ()),
    ],
)
def test_a_version_is_that_of_the_url_else_that_of_the_setting(
    url: str, version: str | None, query: tuple[tuple[str, str], ...]
) -> None:
    config = {"base_url": url, **({"api_version": version} if version else {})}
    assert settled(config).endpoint.query == query
    assert settled(config, flag="https://elsewhere.test/v1").endpoint.query == ()


def test_no_message_holds_the_query_of_a_url_that_is_wrong(program: Program) -> None:
    secret = "planted-header-52c07be1d9"
    for url in (
        f"host/v1?key={secret}", f"ftp://host/v1?key={secret}", f"http://host/v1?key={secret}#x",
        f"http://h/v1?a={secret}&a=b", f"unix://x?key={secret}",
    ):  # fmt: skip
        for form in ("text", "ndjson"):
            result = run(program, form, "--base-url", url, events=False)
            assert (result.status, result.code) == (2, "bad_option")


def test_who_gave_what_counts_is_named_and_not_who_gave_what_does_not() -> None:
    config = {
        "cacert": "/weak.pem",
        "profiles": {"p": {"base_url": "https://own.test/v1", "cacert": "/own.pem"}},
    }
    given = {"profile": "p"}
    own = resolve_settings(given, {}, config)
    assert (own.cacert, own.origins["cacert"]) == ("/own.pem", "config.toml: profiles.p.cacert")
    other = resolve_settings({**given, "base_url": "https://other.test/v1"}, {}, config)
    assert (other.cacert, other.origins["cacert"]) == ("/weak.pem", "config.toml: cacert")
    bare = {"profiles": config["profiles"]}
    none = resolve_settings({**given, "base_url": "https://other.test/v1"}, {}, bare)
    assert (none.cacert, "cacert" in none.origins) == (None, False)
