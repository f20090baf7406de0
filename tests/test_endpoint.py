"""Which URLs are taken for endpoints and proxies, and which name this machine."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipechat.settings.endpoint import read_endpoint
from pipechat.settings.proxy import read_proxy
from tests.properties import MODEST


@pytest.mark.parametrize(
    ("url", "checked", "host"),
    [
        ("https://api.openai.com/v1", "https://api.openai.com/v1", "api.openai.com"),
        ("https://api.openai.com/v1/", "https://api.openai.com/v1", "api.openai.com"),
        ("http://localhost:11434/v1", "http://localhost:11434/v1", "localhost:11434"),
        ("HTTP://host", "http://host", "host"),
        ("http://[::1]:8080/v1", "http://[::1]:8080/v1", "[::1]:8080"),
        ("http://host//", "http://host", "host"),
        ("https://API.OpenAI.com:443/v1", "https://api.openai.com/v1", "api.openai.com"),
        ("http://host:80", "http://host", "host"),
        ("http://host:443", "http://host:443", "host:443"),
        ("unix:///run/s.sock", "unix:///run/s.sock:/v1", "/run/s.sock"),
        ("unix:///run/s.sock:/", "unix:///run/s.sock:/", "/run/s.sock"),
    ],
)
def test_an_endpoint_is_an_http_url_without_a_closing_slash(
    url: str, checked: str, host: str
) -> None:
    endpoint = read_endpoint(url)
    assert (endpoint.url, endpoint.host) == (checked, host)
    assert read_endpoint(checked) == endpoint


BAD = [
    "", "host", "host/v1", "/v1", "http://", "http:///v1", "https://:80", "http://host:port",
    "http://host:99999", "http://[::1", "http://ho st", "http://host\n", "http://ho\x1bst", None, 7,
    "http://user@host", "http://user:secret@host/v1", "http://:secret@host", "ftp://host",
    "file:///etc/passwd", "javascript:alert(1)", "http://us:[secret]@host", "http://us:sec[ret@host",
    "http://us:secret\u2100@host", "http://a..b", "http://.", f"http://{'a' * 64}.com/v1",
]  # fmt: skip


@pytest.mark.parametrize("url", [*BAD, "http://host/#x", "socks5://host"])
def test_what_cannot_be_an_endpoint_is_refused(url: object) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        read_endpoint(url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("scheme", ["http", "https", "socks5", "socks5h"])
def test_proxies_of_four_kinds_are_taken(scheme: str) -> None:
    assert read_proxy(f"{scheme}://127.0.0.1:1080") == f"{scheme}://127.0.0.1:1080"


@pytest.mark.parametrize("url", [*BAD, "socks4://host:1080", "127.0.0.1:1080"])
def test_what_cannot_be_a_proxy_is_refused(url: object) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        read_proxy(url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("localhost", True), ("LOCALHOST", True), ("127.0.0.1", True), ("127.8.8.8:80", True),
        ("[::1]", True), ("[::1]:80", True), ("127.1", True),
        ("localhost.evil.com", False), ("127.0.0.1.evil.com", False), ("evil-localhost", False),
        ("128.0.0.1", False), ("0.0.0.0", False), ("[::2]", False), ("127.evil", False),
        ("127.٠.٠.١", False), ("192.168.0.1", False), ("1.127.0.0.1", False), ("host", False),
    ],
)  # fmt: skip
def test_only_a_name_that_cannot_mean_another_machine_is_loopback(
    host: str, loopback: bool
) -> None:
    assert read_endpoint(f"http://{host}/v1").is_loopback == loopback


@pytest.mark.parametrize(
    ("url", "vendor", "field"),
    [
        ("https://api.openai.com/v1", True, "max_completion_tokens"),
        ("https://API.OPENAI.COM:443/v1/", True, "max_completion_tokens"),
        ("https://eu.api.openai.com/v1", True, "max_completion_tokens"),
        ("https://notopenai.com/v1", False, "max_tokens"),
        ("https://openai.com.evil.org/v1", False, "max_tokens"),
        ("https://me.openai.azure.com/openai/v1", False, "max_completion_tokens"),
        ("https://me.cognitiveservices.azure.com/x", False, "max_completion_tokens"),
        ("https://me.services.ai.azure.com/x", False, "max_completion_tokens"),
        ("https://openai.azure.com.evil.org/x", False, "max_tokens"),
    ],
)
def test_whose_an_endpoint_is_is_told_by_its_parts_not_by_its_text(
    url: str, vendor: bool, field: str
) -> None:
    endpoint = read_endpoint(url)
    assert (endpoint.is_vendor, endpoint.token_limit_field) == (vendor, field)


@pytest.mark.parametrize("host", ["127.0.0.1:8000/v1", "localhost:8080", "api.example.com/v1"])
def test_a_url_without_its_scheme_is_answered_with_the_right_one(host: str) -> None:
    with pytest.raises(ValueError, match=f"did you mean http://{host} or https://{host}"):
        read_endpoint(host)


@MODEST
@given(st.text(max_size=20), st.sampled_from(["", "http://", "https://", "socks5h://", "http://["]))
def test_any_text_is_taken_or_refused_and_never_with_a_user(text: str, scheme: str) -> None:
    try:
        endpoint = read_endpoint(scheme + text)
    except ValueError:
        pass
    else:
        assert "@" not in endpoint.host
        assert endpoint.hostname
        assert endpoint.url.isprintable()
        assert read_endpoint(endpoint.url) == endpoint
    try:
        proxy = read_proxy(scheme + text)
    except ValueError:
        return
    assert "@" not in proxy.partition("://")[2].partition("/")[0]
