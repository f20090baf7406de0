"""What an attacker tried, by kind: secrets, errors that vanish, work without a bound, files."""

import base64
from collections.abc import Callable

import pytest

from tests.program import Program, Result
from tests.servers import ChatServer, Reply, Request, chunk, http_reply, stream_reply

FORMATS = ("text", "ndjson")

PASSWORD = "Hunter2!passw0rd"
ENCODED = "Hunter2%21passw0rd"
BASIC = base64.b64encode(f"proxyuser:{PASSWORD}".encode()).decode()
HEADER_SECRET = "tok-0f1e2d3c4b5a"
SECRETS = (PASSWORD, ENCODED, BASIC, HEADER_SECRET)
STOP = chunk(finish_reason="stop")


def _said(status: int) -> Callable[[str], Reply]:
    return lambda said: http_reply(status, said.encode(), content_type="text/plain")


ECHOES: dict[str, Callable[[str], Reply]] = {
    "403": _said(403),
    "407": _said(407),
    "502": _said(502),
    "finish reason": lambda said: stream_reply(chunk("Hi"), chunk(finish_reason=said)),
    "usage": lambda said: stream_reply(chunk("Hi"), chunk(finish_reason="stop", usage={"x": said})),
    "request id": lambda said: stream_reply(
        chunk("Hi"), STOP, headers={"x-request-id": said.replace("\n", " ")}
    ),
}


@pytest.mark.in_process
@pytest.mark.parametrize("output_format", FORMATS)
@pytest.mark.parametrize("where", ECHOES)
def test_no_secret_that_goes_along_is_shown_or_kept_in_any_form_that_is_said_back(
    program: Program, where: str, output_format: str
) -> None:
    def echo(request: Request) -> Reply:
        basic = request.headers["proxy-authorization"].partition(" ")[2]
        login = base64.b64decode(basic).decode()
        assert login == f"proxyuser:{PASSWORD}"
        return ECHOES[where](f"{basic} {login} {ENCODED} {request.headers['x-token']}")

    with ChatServer(echo) as server:
        result = program.run(
            "ask", "--base-url", "http://elsewhere.test/v1", "--insecure-http", "--retries", "0",
            "--session", "s", "--record", f"{program.home}/rec", "--output-format", output_format,
            "-v", "hello",
            env={
                "HTTP_PROXY": f"http://proxyuser:{ENCODED}@127.0.0.1:{server.port}",
                "OPENAI_CUSTOM_HEADERS": f"x-token: {HEADER_SECRET}",
            },
        )  # fmt: skip
        assert len(server.requests) == 1
    check_hidden(program, result)


def check_hidden(program: Program, result: Result) -> None:
    """None of the secrets is in what a run wrote."""
    kept = [path.read_bytes() for path in program.home.rglob("*") if path.is_file()]
    assert kept, "nothing was kept that could hold one"
    for written in (result.stdout, result.stderr, *kept):
        for secret in SECRETS:
            assert secret.encode() not in written
