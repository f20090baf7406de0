"""Which setting wins, and that a wrong one is named together with where it stands."""

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipechat.errors import SetupError, UsageError
from pipechat.settings.key import check_key_is_safe
from pipechat.settings.resolve import (
    OFFLINE_MODEL,
    Settings,
    resolve_settings,
)
from pipechat.settings.secrets import Secret
from pipechat.settings.table import BY_NAME
from tests.properties import MODEST

DEFAULT_BASE_URL = "https://api.openai.com/v1"
DEFAULT_MODEL = "gpt-5.4-mini"


def resolve(
    flags: dict[str, Any] | None = None,
    environ: dict[str, str] | None = None,
    config: dict[str, Any] | None = None,
) -> Settings:
    return resolve_settings(flags or {}, environ or {}, config or {})


def test_without_anything_the_defaults_hold() -> None:
    settings = resolve()
    again = resolve({"model": None, "offline": None, "options": []})
    assert settings._replace(origins={}) == again._replace(origins={})
    assert (settings.model, settings.endpoint.url) == (DEFAULT_MODEL, DEFAULT_BASE_URL)
    assert (settings.api_key, settings.api_key_command) == (None, None)
    assert (settings.timeout_s, settings.first_token_timeout_s) == (600.0, None)
    assert (settings.retries, settings.last_turns, settings.context_tokens) == (2, 20, None)
    assert settings.idle_timeout_s == 120.0
    assert settings.max_input_bytes == 16 * 1024 * 1024
    assert (settings.stream, settings.options, settings.output_format) == (True, {}, "text")
    assert settings.needs_key
    assert settings.host == "api.openai.com"


SETTINGS = {
    # name: the field, its values in the config, in a profile and as a flag, and what they become
    "model": ("model", ("c", "p", "f")),
    "base_url": ("endpoint", ("http://c", "http://p", "http://f")),
    "proxy": ("proxy", ("http://c", "socks5h://p", "socks5://f")),
    "timeout": ("timeout_s", (1, 2.5, 3.0)),
    "first_token_timeout": ("first_token_timeout_s", (1, 2.5, 3.0)),
    "idle_timeout": ("idle_timeout_s", (1, 2.5, 3.0)),
    "retries": ("retries", (7, 8, 0)),
    "last_turns": ("last_turns", (7, 8, 0)),
    "context_tokens": ("context_tokens", (7, 8, 0)),
    "output_format": ("output_format", ("json", "ndjson", "text")),
    "user_prompt": ("user_prompt", ("c", "p", "")),
    "assistant_prompt": ("assistant_prompt", ("c", "p", "")),
    "insecure_http": ("insecure_http", (True, False, True)),
    "allow_truncated": ("allow_truncated", (True, False, True)),
    "usage": ("usage", (True, False, True)),
    "quiet": ("quiet", (True, False, True)),
}  # fmt: skip


def value_of(settings: Settings, field: str) -> object:
    """A setting as it was given: of an endpoint or a proxy its URL."""
    value = getattr(settings, field)
    url = getattr(value, "url", value)
    return url.reveal() if isinstance(url, Secret) else url


@pytest.mark.parametrize("name", SETTINGS)
def test_a_flag_is_stronger_than_a_profile_and_a_profile_than_the_config_file(name: str) -> None:
    field, (in_config, in_profile, flag) = SETTINGS[name]
    config = {name: in_config}
    both = {**config, "profiles": {"p": {name: in_profile}, "other": {"timeout": 9}}}
    assert value_of(resolve(config=config), field) == in_config
    assert value_of(resolve(config=both), field) == in_config
    assert value_of(resolve({"profile": "p"}, config=both), field) == in_profile
    assert value_of(resolve(config={**both, "profile": "p"}), field) == in_profile
    assert value_of(resolve({"profile": "p", name: flag}, config=both), field) == flag
    assert value_of(resolve({name: None}, config=config), field) == in_config
    other = resolve({"profile": "other"}, config={**both, "profile": "p"})
    if name != "timeout":
        assert value_of(other, field) == in_config


def test_the_environment_stands_between_the_flags_and_the_profile() -> None:
    config = {
        "base_url": "http://c",
        "api_key": "kc",
        "profile": "p",
        "profiles": {"p": {"base_url": "http://p", "api_key": "kp"}},
    }
    environ = {"OPENAI_BASE_URL": "http://e/", "OPENAI_API_KEY": "ke"}
    assert resolve(config=config).endpoint.url == "http://p"
    assert resolve(config=config).api_key == Secret("kp")
    assert resolve(environ=environ, config=config).endpoint.url == "http://e"
    assert resolve(environ=environ, config=config).api_key == Secret("ke")
    assert resolve({"base_url": "http://f"}, environ, config).endpoint.url == "http://f"
    assert resolve(environ={**environ, "PIPECHAT_API_KEY": "own"}).api_key == Secret("own")
    for empty in ("OPENAI_API_KEY", "PIPECHAT_API_KEY", "OPENAI_BASE_URL"):
        assert resolve(environ={empty: ""}, config=config) == resolve(config=config)


def test_a_key_command_gives_way_to_a_key_of_its_layer_or_a_stronger_one() -> None:
    command = {"api_key_command": "pass openai"}
    assert resolve(config=command).api_key_command == "pass openai"
    assert resolve(config={**command, "api_key": "k"}).api_key_command is None
    with_key = resolve(environ={"OPENAI_API_KEY": "k"}, config=command)
    assert (with_key.api_key, with_key.api_key_command) == (Secret("k"), None)
    in_profile = resolve(
        {"profile": "p"}, config={"api_key": "weaker", "profiles": {"p": {**command}}}
    )
    assert (in_profile.api_key, in_profile.api_key_command) == (None, "pass openai")


def test_zero_is_a_value_and_for_a_deadline_none() -> None:
    settings = resolve(
        {"timeout": 0, "idle_timeout": 0.0, "retries": 0, "last_turns": 0, "temperature": 0}
    )
    assert (settings.timeout_s, settings.idle_timeout_s) == (None, None)
    assert (settings.retries, settings.last_turns) == (0, 0)
    assert settings.options == {"temperature": 0}


def test_a_system_message_of_the_call_and_of_the_config_are_told_apart() -> None:
    settings = resolve({"system": "now"}, config={"system": "always"})
    assert (settings.system, settings.default_system) == ("now", "always")
    assert resolve({"system": ""}).system == ""
    assert resolve(config={"system": "always"}).system is None


def test_request_fields_of_all_layers_are_joined_and_the_strongest_wins() -> None:
    config = {
        "temperature": 0.1,
        "options": {"top_p": 0.5, "seed": 1},
        "profiles": {"p": {"options": {"seed": 2, "stop": ["x"]}}},
    }
    settings = resolve({"profile": "p", "options": ["seed=3", "temperature=1"]}, config=config)
    assert settings.options == {"temperature": 1, "top_p": 0.5, "seed": 3, "stop": ["x"]}


@pytest.mark.parametrize(
    ("base_url", "key"),
    [
        (DEFAULT_BASE_URL, "max_completion_tokens"),
        ("https://eu.api.openai.com/v1", "max_completion_tokens"),
        ("https://me.openai.azure.com/openai/v1", "max_completion_tokens"),
        ("http://localhost:11434/v1", "max_tokens"),
    ],
)
def test_the_token_limit_has_the_name_that_its_server_knows(base_url: str, key: str) -> None:
    assert resolve({"base_url": base_url, "max_tokens": 9}).options == {key: 9}


def test_offline_needs_no_key_and_hides_none() -> None:
    settings = resolve({"offline": True, "model": "m"}, {"OPENAI_API_KEY": "k"})
    assert (settings.model, settings.host, settings.api_key) == (
        OFFLINE_MODEL,
        "offline",
        Secret("offline"),
    )
    assert not settings.needs_key
    check_key_is_safe(settings)


def test_only_the_vendors_own_endpoint_needs_a_key() -> None:
    assert not resolve({"base_url": "http://localhost:1"}).needs_key
    assert resolve({"base_url": DEFAULT_BASE_URL + "/"}).needs_key


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("model", ""), ("model", " m"), ("model", "m\n"), ("model", 7), ("model", "\x1b"),
        ("base_url", "host"), ("base_url", "http://u:secret@host"), ("base_url", 7),
        ("proxy", "socks4://host"), ("proxy", "http://u:secret@host"), ("proxy", ["a"]),
        ("timeout", -1), ("timeout", "soon"), ("timeout", float("nan")), ("timeout", True),
        ("timeout", float("inf")), ("timeout", "5 parsecs"), ("idle_timeout", 1e300),
        ("first_token_timeout", 10**400),
        ("timeout", -(10**400)), ("retries", -1), ("retries", 1.5), ("last_turns", "2"),
        ("context_tokens", -1), ("temperature", -0.1), ("temperature", "hot"),
        ("max_tokens", 0), ("max_tokens", 1.5), ("output_format", "xml"), ("output_format", 7),
        ("output_format", ["json"]), ("system", 7), ("user_prompt", 7), ("max_input_mib", -1),
        ("usage", "yes"), ("offline", 1), ("options", "a=b"), ("api_key_command", 7),
    ],
)  # fmt: skip
def test_a_wrong_value_is_named_with_the_place_it_stands_in(name: str, value: object) -> None:
    with pytest.raises(SetupError) as caught:
        resolve(config={name: value})
    assert (caught.value.code, int(caught.value.exit_code)) == ("bad_config", 3)
    assert caught.value.message.startswith(f"config.toml: {name}: ")
    with pytest.raises(SetupError) as caught:
        resolve({"profile": "p"}, config={"profiles": {"p": {name: value}}})
    assert caught.value.message.startswith(f"config.toml: profiles.p.{name}: ")
    assert "secret" not in caught.value.line()
    in_file_alone = ("user_prompt", "max_input_mib", "api_key_command")
    right_as_text = (("last_turns", "2"), ("usage", "yes"), ("options", "a=b"))
    if name not in in_file_alone and (name, value) not in right_as_text:
        with pytest.raises(UsageError) as caught_flag:
            resolve({name: value})
        assert (caught_flag.value.code, int(caught_flag.value.exit_code)) == ("bad_option", 2)
        assert caught_flag.value.message.startswith(f"{BY_NAME[name].flags[0]}: ")


def test_a_wrong_endpoint_in_the_environment_is_named() -> None:
    with pytest.raises(SetupError, match="OPENAI_BASE_URL: "):
        resolve(environ={"OPENAI_BASE_URL": "host"})


def test_stream_json_is_another_name_of_ndjson() -> None:
    assert resolve({"output_format": "stream-json"}).output_format == "ndjson"


def test_an_unknown_name_in_the_config_is_refused_not_passed_over() -> None:
    with pytest.raises(SetupError, match=r"config\.toml: there is no setting 'modle'"):
        resolve(config={"modle": "x"})
    with pytest.raises(SetupError, match=r"profiles\.p: there is no setting 'modle'"):
        resolve({"profile": "p"}, config={"profiles": {"p": {"modle": "x"}}})
    resolve({"session": "s"})  # flags have names of their own


@pytest.mark.parametrize(
    "config",
    [{}, {"profiles": {}}, {"profiles": {"p": 7}}, {"profiles": "p"}, {"profiles": {"q": {}}}],
)
def test_an_unknown_profile_is_refused(config: dict[str, Any]) -> None:
    for flags, more in (({"profile": "p"}, {}), ({}, {"profile": "p"})):
        with pytest.raises(SetupError) as caught:
            resolve(flags, config={**config, **more})
        assert caught.value.code == "unknown_profile"


@pytest.mark.parametrize("profile", [["p"], {"p": 1}, 7, True])
def test_a_profile_that_is_no_name_is_refused(profile: object) -> None:
    with pytest.raises(SetupError):
        resolve(config={"profile": profile, "profiles": {"p": {}}})


@pytest.mark.parametrize(
    ("base_url", "more", "safe"),
    [
        ("https://host/v1", {}, True),
        ("http://localhost:8080", {}, True),
        ("http://127.0.0.1", {}, True),
        ("http://[::1]:1", {}, True),
        ("http://host/v1", {}, False),
        ("HTTP://host/v1", {}, False),
        ("http://localhost.evil.com", {}, False),
        ("http://host/v1", {"insecure_http": True}, True),
        ("http://host/v1", {"offline": True}, True),
    ],
)
def test_a_key_goes_unencrypted_to_this_machine_only(
    base_url: str, more: dict[str, Any], safe: bool
) -> None:
    flags = {"base_url": base_url, **more}
    check_key_is_safe(resolve(flags))
    with_key = resolve(flags, {"OPENAI_API_KEY": "sk-secret"})
    if safe:
        check_key_is_safe(with_key)
        return
    with pytest.raises(SetupError) as caught:
        check_key_is_safe(with_key)
    assert caught.value.code == "insecure_http"
    assert "sk-secret" not in caught.value.line()


anything = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=9)
    | st.lists(st.integers(), max_size=2)
)


@MODEST
@given(
    st.dictionaries(
        st.sampled_from([*SETTINGS, "options", "temperature", "max_tokens", "profile", "offline",
                         "system", "api_key", "max_input_mib", "profiles"]),
        anything,
        max_size=5,
    )
)  # fmt: skip
def test_no_config_crashes_the_resolving(config: dict[str, Any]) -> None:
    with suppress(SetupError):
        resolve(config=config)


@pytest.mark.parametrize("flag", ["https://gateway.test/v1", "https://GATEWAY.test:443/v1/"])
def test_a_key_goes_to_the_endpoint_beside_it_whoever_names_that_once_more(flag: str) -> None:
    beside = {"OPENAI_API_KEY": "sk-of-gateway", "OPENAI_BASE_URL": "https://gateway.test/v1"}
    assert resolve_settings({"base_url": flag}, beside, {}).api_key == Secret("sk-of-gateway")
    assert resolve_settings({"base_url": "https://other.test/v1"}, beside, {}).api_key is None
    wrong = {**beside, "OPENAI_BASE_URL": "nonsense"}
    assert resolve_settings({"base_url": flag}, wrong, {}).api_key is None
