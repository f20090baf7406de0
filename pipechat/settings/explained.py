"""Settings for people: each with its value and who set it; a file looked at as a whole; and the
file that begins with. Pure."""

import json
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from pipechat.errors import PipechatError
from pipechat.settings.endpoint import API_VERSION, Endpoint
from pipechat.settings.layers import make_layers, profiles_of
from pipechat.settings.proxy import Proxy
from pipechat.settings.resolve import found_in, resolve_settings
from pipechat.settings.table import OPTIONS, Option

_WIDTH = 98
# Of these is told only where they come from.
_SECRET = ("api_key", "api_key_command")
# These are tables, which stand behind all else.
_TABLES = ("options", "headers", "prices")
# What a setting without a default may look like: the first that its reader takes.
_EXAMPLES = (100, 1, "http://127.0.0.1:3128", "ndjson")
_OF_METAVAR = {"T": 0.5}
# What is any text to its reader, but to the user a value that could stand so.
_OF_NAME = {
    "effort": "low",
    "fallback": ["gpt-5.4-mini"],
    "system": "Be brief.",
    "template": "Translate into Dutch: {{ input }}",
    "profile": "local",
    "api_key": "sk-…",
    "api_key_command": "pass show openai",
    "cacert": "/etc/ssl/own-ca.pem",
    "client_cert": "/etc/ssl/me.pem",
    "client_key": "/etc/ssl/me.key",
    "api_version": "2024-10-21",
    "ray_address": "auto",
    "user_prompt": "me> ",
    "assistant_prompt": "ai> ",
    "whole_reasons": ["fini"],
    "budget": ["5usd/day"],
}


class Explained(NamedTuple):
    """One setting: its value as JSON has it, None where nothing is set; `origin`: who set it, or
    `default`."""

    name: str
    value: Any
    origin: str


def explain(
    flags: Mapping[str, Any],
    environ: Mapping[str, str],
    config: Mapping[str, Any],
    config_name: str,
) -> list[Explained]:
    """Every setting that the file may hold, and what else the environment sets.

    Raises:
        UsageError, SetupError: as `resolve_settings`.
    """
    settings = resolve_settings(flags, environ, config, config_name)
    found, origins = found_in(make_layers(flags, environ, config, config_name))
    found |= {"options": settings.options, "base_url": settings.endpoint, "proxy": settings.proxy}
    # Of a header is told who is called, not what is said.
    found["headers"] = {each.name: "set" for each in settings.headers} or None
    found["budget"] = [each.said for each in settings.budget]
    beside = ("auth", "cacert", "client_cert", "client_key", "headers", "api_version")
    found |= {name: getattr(settings, name) for name in beside[:4]}
    for name in beside:  # what stands beside another endpoint does not count
        origins.pop(name, None)
        origins |= {name: settings.origins[name]} if name in settings.origins else {}
    found["api_version"] = dict(settings.endpoint.query).get(API_VERSION)
    if settings.proxy is not None:
        origins["proxy"] = settings.proxy.named_by
    explained = []
    for option in OPTIONS:
        name = option.name
        if name in _SECRET:
            is_set = bool(getattr(settings, name))
            explained.append(_told_of_key(name, is_set, settings.origins["api_key"]))
        elif option.in_file or name in origins:
            explained.append(Explained(name, _plain(found[name]), origins.get(name, "default")))
    return explained


def _told_of_key(name: str, is_set: bool, origin: str) -> Explained:
    """A key is not shown, nor a command, which may hold one."""
    return Explained(name, "set", origin) if is_set else Explained(name, None, "default")


def _plain(value: Any) -> Any:
    if isinstance(value, Endpoint):
        return value.url
    if isinstance(value, Proxy):
        return value.shown  # without its password
    return list(value) if isinstance(value, tuple) else value


def faults_of_file(config: Mapping[str, Any], config_name: str) -> Iterator[PipechatError]:
    """What is wrong in the file, whether something stronger counts or not, and in its profiles,
    whether one is selected or not."""
    told = set()
    plain = {name: value for name, value in config.items() if name != "profile"}
    for profile in (None, *profiles_of(config)):
        try:
            resolve_settings({"profile": profile}, {}, plain, config_name)
        except PipechatError as error:
            if error.message not in told:
                yield error
            told.add(error.message)


def first_file() -> str:
    """A config file in which every setting stands, as a comment, with what it means."""
    lines = [
        "# Settings of pipechat; flags and PIPECHAT_* variables are stronger than they are, and",
        "# `pipechat config show` tells what holds.",
        "# A line counts once its `#` is gone.",
    ]
    for group in dict.fromkeys(option.group for option in OPTIONS if option.in_file):
        lines += ["", f"# -- {group} --"]
        for option in OPTIONS:
            if option.in_file and option.group == group and option.name not in _TABLES:
                lines += ["", *_described(option), f"# {option.name} = {_example(option)}"]
    lines += [
        "",
        "# Further fields of every request.",
        "# [options]",
        "# seed = 7",
        "",
        "# Headers of every request; a value may be @env:NAME or @file:PATH.",
        "# [headers]",
        '# X-Team = "@env:TEAM"',
        "",
        "# What a model costs, in USD for a million tokens, where no list has it, or it is wrong.",
        '# [prices."my-model"]',
        "# input = 0.1",
        "# output = 0.4",
        "# cached = 0.01",
        "# reasoning = 0.4",
        "",
        "# Settings of their own for --profile local.",
        "# [profiles.local]",
        '# base_url = "http://localhost:11434/v1"',
        '# model = "llama3.2"',
        '# api_key = "none"',
    ]
    return "\n".join(lines) + "\n"


def _described(option: Option) -> list[str]:
    text = option.help if option.given else f"false: {option.help}"
    return [f"# {line}" for line in textwrap.wrap(text, _WIDTH)]


def _example(option: Option) -> str:
    """The default, or else a value that it takes, as TOML has it."""
    default = _plain(option.default)
    if default not in (None, [], {}) and _takes(option, default):
        return _toml(default)
    first = _OF_NAME.get(option.name, _OF_METAVAR.get(option.metavar, _EXAMPLES[0]))
    return next(_toml(value) for value in (first, *_EXAMPLES) if _takes(option, value))


def _takes(option: Option, value: Any) -> bool:
    try:
        option.read(value)
    except ValueError:
        return False
    return True


def _toml(value: Any) -> str:
    # What JSON says of text, numbers, truth and lists, TOML says as well.
    return json.dumps(value, ensure_ascii=False)
