"""What a server's error means: every body shape of WIRE.md, by class, code and exit code."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipechat.errors import RefusedError, SetupError, TryLaterError
from pipechat.wire.api_errors import status_error, stream_error
from tests.properties import MODEST
from tests.test_wire import json_values


def error(message: str = "x", **more: Any) -> dict[str, Any]:
    return {"error": {"message": message, **more}}


@pytest.mark.parametrize(
    ("status", "body", "code", "exit_code"),
    [
        (400, error(type="invalid_request_error"), "bad_request", 4),
        (400, None, "bad_request", 4),
        (401, error(code="invalid_api_key"), "unauthorized", 3),
        (401, None, "unauthorized", 3),
        (401, {"error": "Unauthorized"}, "unauthorized", 3),
        (401, error(type="server_error"), "unauthorized", 3),
        (403, None, "forbidden", 3),
        (403, error(type="api_error"), "forbidden", 3),
        (403, {"detail": "Forbidden"}, "forbidden", 3),
        (402, None, "insufficient_quota", 4),
        (404, None, "not_found", 4),
        (404, {"detail": "Not Found"}, "not_found", 4),
        (405, None, "bad_request", 4),
        (408, None, "server_timeout", 5),
        (409, None, "conflict", 5),
        (413, None, "too_large", 4),
        (413, error(code="context_length_exceeded"), "context_too_long", 4),
        (422, {"detail": [{"loc": ["body"], "msg": "field required"}]}, "bad_request", 4),
        (425, None, "server_error", 5),
        (429, None, "rate_limited", 5),
        (429, error(code="rate_limit_exceeded"), "rate_limited", 5),
        (429, error(type="invalid_request_error"), "rate_limited", 5),
        (429, error(code="insufficient_quota"), "insufficient_quota", 4),
        (429, error(type="insufficient_quota", code=None), "insufficient_quota", 4),
        (500, None, "server_error", 5),
        (502, None, "server_error", 5),
        (503, error("Loading model", type="unavailable_error", code=503), "server_error", 5),
        (529, error(type="overloaded_error"), "server_error", 5),
        # A wrong key is 401 at most, 400 at one.
        (400, error("Incorrect API key provided: sk-x"), "unauthorized", 3),
        (400, error("API key not valid", status="INVALID_ARGUMENT"), "unauthorized", 3),
        (400, [error("API key not valid")], "unauthorized", 3),
        (400, error(code="invalid_api_key"), "unauthorized", 3),
        # An unknown model is 404, 400 or 503.
        (404, error(code="model_not_found"), "not_found", 4),
        (400, error("The model `x` does not exist"), "not_found", 4),
        (400, error("model 'x' not found, try pulling it first"), "not_found", 4),
        (400, error("invalid model name"), "not_found", 4),
        (503, error("model x doesn't exist"), "not_found", 4),
        (503, error(code="model_not_found"), "not_found", 4),
        (503, error("the existing models are busy"), "server_error", 5),
        (500, error("model x not found"), "server_error", 5),
        # Too long a context.
        (400, error(code="context_length_exceeded"), "context_too_long", 4),
        (400, error("This model's maximum context length is 4096 tokens."), "context_too_long", 4),
        (500, error("the request exceeds the available context size"), "context_too_long", 4),
        (400, error(type="exceed_context_size_error", code=400), "context_too_long", 4),
        # The code is a word, a number or a digit string; the status is stronger than a number.
        (400, error(code=429), "bad_request", 4),
        (500, error(code="404"), "server_error", 5),
        (400, error(code="1" * 5000), "bad_request", 4),
        (429, error(code=True), "rate_limited", 5),
        # Redirects are not followed.
        *((status, None, "redirected", 4) for status in (301, 302, 303, 307, 308)),
    ],
)
def test_every_status_and_body_is_the_error_it_means(
    status: int, body: object, code: str, exit_code: int
) -> None:
    found = status_error(status, body, host="host:1")
    assert (found.code, int(found.exit_code)) == (code, exit_code)
    assert found.message.startswith("host:1 answered")
    kind = {3: SetupError, 4: RefusedError, 5: TryLaterError}[exit_code]
    assert type(found) is kind
    assert found.retryable == (exit_code == 5)
    if isinstance(found, TryLaterError):
        assert found.status == status
        assert found.again


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (error("it broke"), "it broke"),
        ({"error": "it broke"}, "it broke"),
        ({"detail": "it broke"}, "it broke"),
        ({"detail": [{"msg": "it broke"}]}, "it broke"),
        ({"detail": ["it broke"]}, "it broke"),
        ({"detail": {"message": "it broke"}}, "it broke"),
        ({"error": [{"message": "it broke"}]}, "it broke"),
        ({"type": "about:blank", "title": "Bad", "status": 400, "detail": "it broke"}, "it broke"),
        ({"type": "about:blank", "title": "it broke", "status": 400}, "it broke"),
        ({"message": "it broke"}, "it broke"),
        ({"error": {"error": "it broke"}}, "it broke"),
        ({"error": {"message": {"detail": "it broke"}}}, "it broke"),
        ("it broke", "it broke"),
        ([error("it broke")], "it broke"),
        (error("it\n  broke\t"), "it broke"),
    ],
)
def test_the_message_is_found_in_every_shape_of_body(body: object, message: str) -> None:
    found = status_error(500, body, host="h")
    assert found.message == f"h answered 500: {message}"


@pytest.mark.parametrize(
    "body",
    [None, 7, [], {}, "", {"error": None}, {"error": {}}, {"error": []}, {"detail": []},
     {"detail": [7]}, {"detail": {}}, [[]], [1, 2]],
)  # fmt: skip
def test_a_body_that_says_nothing_leaves_the_status(body: object) -> None:
    assert status_error(500, body, host="h").message == "h answered 500"


@pytest.mark.parametrize(
    ("said", "code", "exit_code"),
    [
        ("boom", "server_error", 5),
        ({"message": "x"}, "server_error", 5),
        ({"message": "x", "code": 429}, "rate_limited", 5),
        ({"message": "x", "code": "503"}, "server_error", 5),
        ({"message": "x", "code": 404}, "not_found", 4),
        ({"message": "x", "code": 200}, "server_error", 5),
        ({"type": "invalid_request_error"}, "bad_request", 4),
        ({"type": "server_error"}, "server_error", 5),
        ({"type": "timeout"}, "server_error", 5),
        ({"code": "insufficient_quota", "type": "x"}, "insufficient_quota", 4),
        ({"type": "authentication_error"}, "unauthorized", 3),
        ({"type": "PERMISSION_DENIED"}, "forbidden", 3),
        (None, "server_error", 5),
    ],
)
def test_an_error_in_a_stream_is_known_by_its_words_and_numbers(
    said: object, code: str, exit_code: int
) -> None:
    found = stream_error(said, host="h")
    assert (found.code, int(found.exit_code)) == (code, exit_code)
    assert found.message.startswith("h sent an error")


def test_what_the_server_asks_to_wait_is_kept() -> None:
    for status in (408, 429, 503):
        found = status_error(status, None, host="h", retry_after_s=7.5)
        assert isinstance(found, TryLaterError)
        assert found.retry_after_s == 7.5


@MODEST
@given(st.integers(300, 700), json_values | st.lists(json_values, min_size=1, max_size=1))
def test_no_body_crashes_the_translation(status: int, body: object) -> None:
    for value in (body, {"error": body}, {"detail": body}, error(code=body, type=body)):
        line = status_error(status, value, host="h").line()
        assert line.startswith("pipechat: ")
        assert line.splitlines() == [line] or not line.isprintable()
        stream_error(value, host="h")
