"""The public list of prices, from the extra `prices` (genai-prices): as it was installed, since
nothing here ever fetches another.

The only module that knows the package. An endpoint is known by its host; what is asked at another
has no price here, whatever the model's name, for who runs it says what it costs.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

from pipechat.ledger.rates import Prices, Rates

if TYPE_CHECKING:
    from genai_prices.types import ModelInfo, ModelPrice, Provider

_BATCH = "batch"
_KINDS = {
    "input": "input_mtok",
    "output": "output_mtok",
    "cached": "cache_read_mtok",
    "written": "cache_write_mtok",
    "reasoning": "output_reasoning_mtok",
}


@cache
def is_installed() -> bool:
    """Whether the package is there."""
    from importlib.util import find_spec

    return find_spec("genai_prices") is not None


def listed(model: str, host: str | None, tier: str, at: str | None) -> Prices | None:
    """The prices of `model` at `host` in a tier ("": the standard one) at a time.

    A tier is known only where the list has prices of it for this very model at that time.
    """
    found = _found(model, host) if is_installed() else None
    if found is None:
        return None
    provider, info = found
    when = _time(at)
    context = None
    if tier:
        context = {"processing": _BATCH} if tier == _BATCH else {"service_tier": tier}
        if not _has_variant(provider, info, context, when):
            return None
    return _prices(info.get_prices(when, context), by_time=_changes_by_time(info))


@lru_cache(maxsize=1024)
def _found(model: str, host: str | None) -> tuple[Provider, ModelInfo] | None:
    from genai_prices.data_snapshot import get_snapshot

    # Its patterns are of URLs, and some of them want the end of the host.
    url = None if host is None else f"https://{host}/"
    try:
        return get_snapshot().find_provider_model(model, None, None, url)
    except LookupError:
        return None


def _has_variant(
    provider: Provider, info: ModelInfo, context: dict[str, str], when: datetime
) -> bool:
    # A model that a provider sells for another has the other's standard prices alone.
    if not any(info is each for each in provider.models):
        return False
    return any(
        variant.when == context and (variant.constraint is None or variant.constraint.active(when))
        for variant in info.price_variants or ()
    )


def _changes_by_time(info: ModelInfo) -> bool:
    from genai_prices.types import TimeOfDateConstraint

    constraints = [each.constraint for each in info.price_variants or ()]
    if isinstance(info.prices, list):
        constraints += [each.constraint for each in info.prices]
    return any(isinstance(each, TimeOfDateConstraint) for each in constraints)


def _prices(found: ModelPrice, *, by_time: bool) -> Prices:
    kinds = {kind: getattr(found, name) for kind, name in _KINDS.items()}
    # What has no price of its own costs what its side does.
    kinds["cached"] = kinds["input"] if kinds["cached"] is None else kinds["cached"]
    kinds["written"] = kinds["input"] if kinds["written"] is None else kinds["written"]
    kinds["reasoning"] = kinds["output"] if kinds["reasoning"] is None else kinds["reasoning"]
    by_thousand = found.requests_kcount
    request = by_thousand / 1000 if isinstance(by_thousand, Decimal) else Decimal(0)
    starts = sorted({start for price in kinds.values() for start in _starts(price)}, reverse=True)
    beyond = tuple((start, _rates(kinds, start, request)) for start in starts)
    return Prices(_rates(kinds, -1, request), beyond, by_time)


def _starts(price: Any) -> Iterator[int]:
    for step in getattr(price, "tiers", ()):
        yield step.start


def _rates(kinds: dict[str, Any], start: int, request: Decimal) -> Rates:
    """The rates of a prompt that is just longer than `start` tokens."""
    return Rates(**{kind: _step(price, start) for kind, price in kinds.items()}, request=request)


def _step(price: Any, start: int) -> Decimal | None:
    if price is None or isinstance(price, Decimal):
        return price
    passed: list[Decimal] = [step.price for step in price.tiers if step.start <= start]
    base: Decimal = price.base
    return passed[-1] if passed else base


def _time(at: str | None) -> datetime:
    try:
        found = datetime.fromisoformat(at) if at else datetime.now(UTC)
    except ValueError:
        return datetime.now(UTC)
    return found if found.tzinfo else found.replace(tzinfo=UTC)
