"""What a request costs in USD, by the model and the service tier that answered.

Owns whose prices hold: the user's own, from config.toml, above those of the public list. That is
asked for what is not there alone, and only `listed_prices` knows whose it is.
"""

from collections.abc import Mapping
from decimal import Decimal
from functools import lru_cache
from typing import Any

from pipechat.ledger.rates import Prices, Rates
from pipechat.ledger.tokens import tokens_of
from pipechat.messages import Usage

# What servers call the tier that nobody asked for: OpenAI, Anthropic, Groq.
_STANDARD = ("", "default", "standard", "on_demand")

OwnPrices = Mapping[str, Mapping[str, Any]]
"""By model: `input`, `output`, `cached` and `reasoning`, in USD for a million tokens, and by the
name of a tier a table of the same."""


def price_of(
    model: str,
    host: str | None,
    tier: str | None,
    usage: Usage | None,
    own_prices: OwnPrices,
    at: str | None = None,
    at_most: bool = False,
) -> Decimal | None:
    """What one request cost in USD; None: it has no known price.

    Args:
        model, tier: those that answered; a tier without a price of its own has none.
        host: where; None: not known, and the vendor is told by the model's name.
        usage: as the server reported it.
        at: when, RFC 3339; now unless given.
        at_most: each token may be of the dearest kind, as in a bound, and sound is text.
    """
    tokens = tokens_of(usage)
    prices = prices_of(model, host, tier, own_prices, at) if tokens else None
    if not (prices and tokens):
        return None
    rates = prices.rates_of(tokens.prompt)
    return rates.at_most().cost(tokens._replace(sound=0)) if at_most else rates.cost(tokens)


def prices_of(
    model: str, host: str | None, tier: str | None, own_prices: OwnPrices, at: str | None = None
) -> Prices | None:
    """The prices of a model at a time; None: not known."""
    tier = "" if tier is None or tier.lower() in _STANDARD else tier.lower()
    own = own_prices.get(model)
    if own is not None and (rates := _own_rates(own, tier)):
        return Prices(rates)
    from pipechat.ledger.listed_prices import listed  # which is slow to import

    return listed(model, host, tier, at)


def list_is_missing() -> bool:
    """Whether there is no public list, since the extra `prices` is not installed."""
    from pipechat.ledger.listed_prices import is_installed

    return not is_installed()


def _own_rates(own: Mapping[str, Any], tier: str) -> Rates | None:
    """Those of a model's table, or of the table of a tier in it."""
    table = own.get(tier) if tier else own
    if not isinstance(table, dict) or "input" not in table:
        return None
    return _rates(*(str(table[name]) for name in ("input", "output")), *_beside(table))


def _beside(table: Mapping[str, Any]) -> tuple[str, str]:
    cached = table.get("cached", table["input"])
    return str(cached), str(table.get("reasoning", table["output"]))


@lru_cache(maxsize=256)
def _rates(given: str, taken: str, cached: str, reasoning: str) -> Rates:
    read, written = Decimal(given), Decimal(taken)
    return Rates(read, written, Decimal(cached), read, Decimal(reasoning))
