"""What a request costs: whose prices hold, which tokens are paid for, and what has no price."""

import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipechat.errors import SetupError
from pipechat.ledger.prices import price_of, prices_of
from pipechat.ledger.rates import Rates
from pipechat.ledger.tokens import tokens_of
from pipechat.settings.resolve import resolve_settings
from tests.program import Program

OPENAI = "api.openai.com"
OWN = {"mine": {"input": 1, "output": 2, "cached": 0.1, "reasoning": 3}}
MILLION = 1_000_000
AT = "2026-11-20T12:00:00.000Z"


def usage(prompt: int, completion: int, cached: int = 0, reasoning: int = 0) -> dict[str, Any]:
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": cached},
        "completion_tokens_details": {"reasoning_tokens": reasoning},
    }


@pytest.mark.parametrize(
    ("used", "cost"),
    [
        (usage(MILLION, 0), "1"),
        (usage(0, MILLION), "2"),
        (usage(MILLION, 0, cached=MILLION), "0.1"),
        (usage(0, MILLION, reasoning=MILLION), "3"),
        (usage(MILLION, MILLION, cached=MILLION // 2, reasoning=MILLION // 4), "2.8"),
        (usage(0, 0), "0"),
        ({"prompt_tokens": MILLION, "completion_tokens": 0}, "1"),
    ],
)
def test_cached_and_reasoning_tokens_are_paid_for_by_their_own_prices(
    used: dict[str, Any], cost: str
) -> None:
    assert price_of("mine", "localhost:1", None, used, OWN) == Decimal(cost)


def test_own_prices_without_those_of_cached_and_reasoning_take_them_as_the_rest() -> None:
    own = {"mine": {"input": 1, "output": 2}}
    used = usage(MILLION, MILLION, cached=MILLION // 2, reasoning=MILLION // 2)
    assert price_of("mine", None, None, used, own) == 3


@pytest.mark.parametrize(
    "used",
    [
        # xAI counts thinking apart from the completion, Anthropic what is cached from the prompt.
        {**usage(10, 10, reasoning=5), "total_tokens": 25},
        {**usage(10, 15, reasoning=5)},
        {**usage(10, 10, reasoning=5), "total_tokens": 26},
    ],
)
def test_thinking_that_is_counted_apart_is_paid_for_once(used: dict[str, Any]) -> None:
    tokens = tokens_of(used)
    assert tokens is not None
    assert (tokens.prompt, tokens.answer, tokens.reasoning) == (10, 10, 5)


@pytest.mark.parametrize(
    ("inputs", "prompt", "completion", "total", "tokens"),
    [
        # prompt, completion and total as Gemini tells them, by way of several gateways
        ({}, 20, 424, 1016, (20, 0, 0, 424, 572)),
        ({}, 7477, 2060, 11476, (7477, 0, 0, 2060, 1939)),
        ({}, 21, 0, 81, (21, 0, 0, 0, 60)),
        ({"cached_tokens": 500}, 1000, 10, 1610, (500, 500, 0, 10, 600)),
        # what was cached is what the sum has more
        ({"cached_tokens": 50}, 100, 1, 151, (100, 50, 0, 1, 0)),
        ({"cached_tokens": 50}, 10, 1, 61, (10, 50, 0, 1, 0)),
        ({"cached_tokens": 50}, 10, 1, 64, (10, 50, 0, 1, 3)),
        # sums that say nothing more
        ({"cached_tokens": 5}, 10, 1, 11, (5, 5, 0, 1, 0)),
        ({}, 10, 1, 3, (10, 0, 0, 1, 0)),
    ],
)  # fmt: skip
def test_what_only_the_sum_tells_of_is_paid_for_as_well(
    inputs: dict[str, int], prompt: int, completion: int, total: int, tokens: tuple[int, ...]
) -> None:
    used = {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": total}
    assert tokens_of({**used, "prompt_tokens_details": inputs}) == (*tokens, 0)


def test_what_is_cached_beyond_the_prompt_was_counted_apart() -> None:
    assert tokens_of(usage(10, 1, cached=50)) == (10, 50, 0, 1, 0, 0)


@given(
    st.dictionaries(
        st.sampled_from([*usage(1, 1), "else"]),
        st.none() | st.booleans() | st.integers() | st.floats() | st.just("1") | st.just([])
        | st.dictionaries(
            st.sampled_from(["cached_tokens", "reasoning_tokens", "cache_write_tokens"]),
            st.integers() | st.floats() | st.just("1"),
        ),
    )
)  # fmt: skip
def test_no_usage_makes_a_price_fail_or_less_than_nothing(used: dict[str, Any]) -> None:
    price = price_of("mine", None, None, used, OWN)
    assert price is None or price >= 0


@pytest.mark.parametrize(
    "used", [None, {}, {"total_tokens": 9}, {"prompt_tokens": 1}, {"prompt_tokens": "1"},
             {"prompt_tokens": True, "completion_tokens": 1},
             {"prompt_tokens": -1, "completion_tokens": 1}],
)  # fmt: skip
def test_what_was_used_and_is_not_known_has_no_price(used: dict[str, Any] | None) -> None:
    assert price_of("mine", None, None, used, OWN) is None


def test_tokens_of_sound_have_no_price_that_is_known() -> None:
    used = {**usage(10, 1), "prompt_tokens_details": {"audio_tokens": 5}}
    assert price_of("mine", None, None, used, OWN) is None


@pytest.mark.parametrize("tier", [None, "", "default", "standard", "on_demand", "Default"])
def test_the_list_knows_the_standard_tier_by_each_of_its_names(tier: str | None) -> None:
    used = usage(MILLION // 10, MILLION // 10, cached=MILLION // 100)
    price = price_of("gpt-5.4-mini", OPENAI, tier, used, {}, AT)
    # 0.75 USD of input, 0.075 cached, 4.5 of output: openai.com/api/pricing.
    assert price == Decimal("0.09") * Decimal("0.75") + Decimal("0.01") * Decimal("0.075") + (
        Decimal("0.1") * Decimal("4.5")
    )


def test_another_tier_has_its_own_price_where_the_list_has_one_and_else_none() -> None:
    used = usage(MILLION, MILLION)
    prices = {
        tier: price_of("gpt-5.4-mini", OPENAI, tier, used, {}, AT)
        for tier in ("default", "flex", "priority", "batch", "scale", "auto", "no-such-tier")
    }
    standard = prices["default"]
    assert standard is not None
    assert prices["flex"] == prices["batch"] == standard / 2
    assert prices["priority"] == standard * 2
    assert prices["scale"] is prices["auto"] is prices["no-such-tier"] is None
    # Azure sells OpenAI's models, but the list has no tiers of it.
    assert price_of("gpt-5.4-mini", "me.openai.azure.com", None, used, {}, AT) == standard
    assert price_of("gpt-5.4-mini", "me.openai.azure.com", "flex", used, {}, AT) is None


@pytest.mark.parametrize(
    ("model", "host"),
    [
        ("no-such-model", OPENAI),
        ("gpt-5.4-mini", "llm.example.com"),
        ("gpt-5.4-mini", "127.0.0.1:8080"),
        ("gpt-5.4-mini", "/run/llm.sock"),
        ("llama3.2", None),
    ],
)
def test_a_model_or_an_endpoint_that_nobody_knows_has_no_price(
    model: str, host: str | None
) -> None:
    assert price_of(model, host, None, usage(1, 1), {}) is None


def test_a_price_is_that_of_the_day() -> None:
    used = usage(MILLION // 10, 0)
    before = price_of("gpt-5.6-luna", OPENAI, None, used, {}, "2026-07-29T23:59:59Z")
    after = price_of("gpt-5.6-luna", OPENAI, None, used, {}, "2026-07-30T00:00:00Z")
    assert (before, after) == (Decimal("0.1"), Decimal("0.02"))


def test_a_long_prompt_costs_as_a_long_one() -> None:
    prices = prices_of("gpt-5.4", OPENAI, None, {}, AT)
    assert prices is not None
    assert prices.rates_of(272_000).input == Decimal("2.5")
    assert prices.rates_of(272_001).input == Decimal(5)
    price = price_of("gpt-5.4", OPENAI, None, usage(400_000, 0), {}, AT)
    assert price == 2


def test_own_prices_stand_above_the_list_and_a_tier_has_its_own() -> None:
    own = {"gpt-5.4-mini": {"input": 7, "output": 8, "flex": {"input": 3, "output": 4}}}
    used = usage(MILLION, MILLION)
    assert price_of("gpt-5.4-mini", OPENAI, None, used, own, AT) == 15
    assert price_of("gpt-5.4-mini", OPENAI, "flex", used, own, AT) == 7
    listed = price_of("gpt-5.4-mini", OPENAI, "priority", used, {}, AT)
    assert price_of("gpt-5.4-mini", OPENAI, "priority", used, own, AT) == listed
    assert price_of("mine", OPENAI, "flex", used, OWN, AT) is None


def test_a_kind_of_tokens_without_a_price_makes_the_whole_unknown() -> None:
    one = Decimal(1)
    rates = Rates(one, None, one, one, None)
    assert [rates.cost(tokens) for tokens in map(tokens_of, (usage(1, 0), usage(1, 1))) if tokens] \
        == [Decimal("0.000001"), None]  # fmt: skip


def test_the_list_is_never_fetched() -> None:
    script = (
        "import sys\n"
        "def refuse(event, _):\n"
        "    if event.startswith(('socket.connect', 'socket.getaddrinfo', 'socket.bind')):\n"
        "        raise SystemExit(event)\n"
        "sys.addaudithook(refuse)\n"
        "from pipechat.ledger.prices import price_of\n"
        "used = {'prompt_tokens': 1, 'completion_tokens': 1}\n"
        "print(price_of('gpt-5.4-mini', 'api.openai.com', None, used, {}) is not None)\n"
        "import threading; print(threading.active_count())\n"
    )
    root = Path(__file__).resolve().parent.parent
    done = subprocess.run([sys.executable, "-c", script], cwd=root, capture_output=True, check=True)
    assert done.stdout == b"True\n1\n"


@pytest.mark.parametrize(
    ("prices", "told"),
    [
        ("no", "prices: not a table"),
        ({"m": 3}, "m: a price is a table"),
        ({"m": {}}, "m has no price of its input"),
        ({"m": {"input": 1}}, "m has no price of its output"),
        ({"m": {"input": "1", "output": 1}}, "m.input: not USD"),
        ({"m": {"input": -1, "output": 1}}, "m.input: not USD"),
        ({"m": {"input": True, "output": 1}}, "m.input: not USD"),
        ({"m": {"input": 1, "output": float("nan")}}, "m.output: not USD"),
        ({"m": {"input": 10**400, "output": 1}}, "m.input: not USD"),
        ({"m": {"input": 1, "output": 10**400}}, "m.output: not USD"),
        ({"m": {"flex": {"input": 1, "output": 10**309}}}, "m.flex.output: not USD"),
        ({"m": {"input": 1, "output": float("inf")}}, "m.output: not USD"),
        ({"m": {"input": 1, "output": 1, "outptu": 1}}, "m: outptu is none of input"),
        ({"m": {"flex": {"input": 1}}}, "m.flex has no price of its output"),
        ({"m": {"Flex": {"input": 1, "output": 1}}}, "m.Flex: not the name of a service tier"),
        ({"m": {"input": {"input": 1, "output": 1}}}, "m.input: not the name of a service tier"),
    ],
)
def test_own_prices_that_are_wrong_are_told_with_their_place(prices: object, told: str) -> None:
    with pytest.raises(SetupError) as caught:
        resolve_settings({}, {}, {"prices": prices}, "config.toml")
    assert caught.value.code == "bad_config"
    assert told in caught.value.message
    assert caught.value.message.startswith("config.toml: prices: ")


@pytest.mark.in_process
def test_config_show_tells_own_prices_and_their_place(program: Program) -> None:
    program.home.mkdir(exist_ok=True)
    lines = '[prices."my-model"]\ninput = 0.1\noutput = 0.4\n'
    (program.home / "config.toml").write_text(lines)
    done = program.run("config", "show")
    assert '{"my-model":{"input":0.1,"output":0.4}}' in done.stdout.decode()
    (program.home / "config.toml").write_text('[prices."my-model"]\ninput = 0.1\n')
    done = program.run("ask", "--offline", "hello")
    assert done.status == 3
    assert b"prices: my-model has no price of its output" in done.stderr
