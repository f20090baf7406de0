"""Which URLs are taken for endpoints and proxies, and which name this machine."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipechat.settings.urls import check_base_url, check_proxy_url, host_of, is_loopback
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
    ],
)
def test_an_endpoint_is_an_http_url_without_a_closing_slash(
    url: str, checked: str, host: str
) -> None:
    assert check_base_url(url) == checked
    assert host_of(checked) == host


BAD = [
    "", "host", "host/v1", "/v1", "http://", "http:///v1", "https://:80", "http://host:port",
    "http://host:99999", "http://[::1", "http://ho st", "http://host\n", "http://ho\x1bst", None, 7,
    "http://user@host", "http://user:secret@host/v1", "http://:secret@host", "ftp://host",
    "file:///etc/passwd", "javascript:alert(1)",
]  # fmt: skip


@pytest.mark.parametrize("url", [*BAD, "http://host?a=b", "http://host/#x", "socks5://host"])
def test_what_cannot_be_an_endpoint_is_refused(url: object) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        check_base_url(url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("scheme", ["http", "https", "socks5", "socks5h"])
def test_proxies_of_four_kinds_are_taken(scheme: str) -> None:
    assert check_proxy_url(f"{scheme}://127.0.0.1:1080") == f"{scheme}://127.0.0.1:1080"


@pytest.mark.parametrize("url", [*BAD, "socks4://host:1080", "127.0.0.1:1080"])
def test_what_cannot_be_a_proxy_is_refused(url: object) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        check_proxy_url(url)
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
    assert is_loopback(f"http://{host}/v1") == loopback


@MODEST
@given(st.text(max_size=20), st.sampled_from(["", "http://", "https://", "socks5h://", "http://["]))
def test_any_text_is_taken_or_refused_and_never_with_a_user(text: str, scheme: str) -> None:
    for check in (check_base_url, check_proxy_url):
        try:
            checked = check(scheme + text)
        except ValueError:
            continue
        assert "@" not in host_of(checked)
        assert host_of(checked)
        assert checked.isprintable()
        assert check(checked) == checked
