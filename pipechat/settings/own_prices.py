"""The prices that somebody pays, as config.toml has them. Pure; read only where there are any.

[prices."my-model"]          # in USD, for a million tokens
input = 0.1
output = 0.4
cached = 0.01                # input read from a cache; else as input
reasoning = 0.4              # output that is thinking; else as output
[prices."my-model".flex]     # the same of another service tier
input = 0.05
output = 0.2
"""

from collections.abc import Mapping
from typing import Any

_KINDS = ("input", "output", "cached", "reasoning")
_LARGEST = 1_000_000


def read_prices(value: object) -> Mapping[str, Mapping[str, Any]]:
    """The tables of models, as they are, once each is looked at.

    Raises:
        ValueError: what is wrong, with the name of the model.
    """
    if not isinstance(value, dict):
        raise ValueError('not a table; a price is a table [prices."MODEL"]')
    for model, table in value.items():
        if not isinstance(table, dict):
            raise ValueError(f'{model}: a price is a table [prices."MODEL"]')
        tiers = {name: each for name, each in table.items() if isinstance(each, dict)}
        own = {name: each for name, each in table.items() if name not in tiers}
        if own or not tiers:
            _check(model, own)
        for tier, prices in tiers.items():
            if tier in _KINDS or tier != tier.lower():
                raise ValueError(f"{model}.{tier}: not the name of a service tier")
            _check(f"{model}.{tier}", prices)
    return value


def _check(where: str, prices: Mapping[str, object]) -> None:
    for name, price in prices.items():
        if name not in _KINDS:
            raise ValueError(f"{where}: {name} is none of {', '.join(_KINDS)}")
        is_number = isinstance(price, int | float) and not isinstance(price, bool)
        if not (is_number and 0 <= price <= _LARGEST):  # type: ignore[operator]  # because mypy does not narrow by `is_number`
            raise ValueError(f"{where}.{name}: not USD for a million tokens")
    for name in _KINDS[:2]:
        if name not in prices:
            raise ValueError(f"{where} has no price of its {name}")
