"""A key, and a proxy's password, are shown by nothing that shows an object, and yet go along."""

import json
import pickle
import traceback
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest

from pipechat.batch.ray_plan import Plan
from pipechat.client.lazy_openai import load_openai
from pipechat.client.sdk_sender import SdkSender
from pipechat.settings.proxy import Proxy
from pipechat.settings.resolve import Settings, resolve_settings
from pipechat.settings.secrets import Secret

KEY, PASSWORD = "sk-shown-nowhere-12345", "pass-shown-nowhere"
ENVIRON = {
    "OPENAI_API_KEY": KEY,
    "HTTPS_PROXY": f"http://user:{PASSWORD}@proxy.test:3128",
    "OPENAI_CUSTOM_HEADERS": f"X-Token: {PASSWORD}-2",
}


def settings() -> Settings:
    return resolve_settings({}, ENVIRON, {})


def proxy() -> Proxy:
    found = settings().proxy
    assert found is not None
    return found


HOLDERS: dict[str, Callable[[], Any]] = {
    "the key": lambda: settings().api_key,
    "settings": settings,
    "proxy": proxy,
    "sender": lambda: SdkSender(settings(), {}, load_openai({})),
    "plan": lambda: Plan.of(settings(), ENVIRON, None),
    "secrets": lambda: settings().other_secrets,
}

WAYS: dict[str, Callable[[Any], str]] = {
    "repr": repr,
    "str": str,
    "format": lambda holder: f"{holder} {holder!r} {holder!s}",
    "percent": lambda holder: "%s %r" % ((holder,) * 2),
    "in a tuple": lambda holder: repr(tuple(holder) if isinstance(holder, tuple) else (holder,)),
    "as JSON": lambda holder: json.dumps({"x": holder}, default=repr),
    "traceback": lambda holder: locals_of(holder),
}


def locals_of(holder: Any) -> str:
    """A traceback with the values of its frames, as those who report errors take it."""
    assert holder is not None
    try:
        raise KeyError(holder)
    except KeyError as error:
        told = traceback.TracebackException.from_exception(error, capture_locals=True)
    return "".join(told.format())


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", HOLDERS)
def test_what_holds_a_secret_does_not_show_it(name: str, way: str) -> None:
    shown = WAYS[way](HOLDERS[name]())
    assert shown
    assert KEY not in shown
    assert PASSWORD not in shown


def test_a_secret_is_what_it_was_wherever_it_is_carried() -> None:
    secret = Secret(KEY)
    for carried in (pickle.loads(pickle.dumps(secret)), deepcopy(secret)):
        assert (carried, hash(carried), carried.reveal()) == (secret, hash(secret), KEY)
    assert pickle.loads(pickle.dumps(settings())) == settings()
    assert pickle.loads(pickle.dumps(proxy())).url.reveal() == ENVIRON["HTTPS_PROXY"]


def test_a_secret_is_equal_to_the_same_and_to_nothing_else() -> None:
    assert Secret("a") == Secret("a")
    assert Secret("a") != Secret("b")
    assert Secret("a") != "a"
    assert (bool(Secret("")), bool(Secret("a"))) == (False, True)


def test_the_key_reaches_a_worker_in_the_plan_and_stands_not_in_its_settings() -> None:
    plan = pickle.loads(pickle.dumps(Plan.of(settings(), ENVIRON, None)))
    assert plan.settings.api_key is None
    assert plan.own_settings().api_key.reveal() == KEY


def test_what_is_hidden_in_messages_is_the_text_of_each_secret() -> None:
    assert {KEY, PASSWORD, f"{PASSWORD}-2"} <= set(settings().secrets)
