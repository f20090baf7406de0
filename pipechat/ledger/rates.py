"""Prices as numbers: USD for a million tokens of each kind, and what so many tokens cost. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import NamedTuple

from pipechat.ledger.tokens import Tokens

_MILLION = 1_000_000


class Rates(NamedTuple):
    """USD for a million tokens of each kind, and for the request itself. None: not known."""

    input: Decimal | None
    output: Decimal | None
    cached: Decimal | None
    written: Decimal | None
    reasoning: Decimal | None
    request: Decimal = Decimal(0)

    def cost(self, tokens: Tokens, requests: int = 1) -> Decimal | None:
        """What `tokens` of so many requests cost; None where a kind of them has no price."""
        parts = (
            (tokens.plain, self.input),
            (tokens.cached, self.cached),
            (tokens.written, self.written),
            (tokens.answer, self.output),
            (tokens.reasoning, self.reasoning),
            (tokens.sound, None),
        )
        total = self.request * requests
        for count, rate in parts:
            if count and rate is None:
                return None
            total += count * (rate or Decimal(0)) / _MILLION
        return total

    def at_most(self) -> Rates:
        """Those of tokens whose kind nobody knows yet: the dearest kind of their side."""
        inputs, outputs = (self.input, self.cached, self.written), (self.output, self.reasoning)
        return self._replace(input=_dearest(inputs), output=_dearest(outputs))


def _dearest(kinds: Iterable[Decimal | None]) -> Decimal | None:
    return max((rate for rate in kinds if rate is not None), default=None)


class Prices(NamedTuple):
    """Rates, and by the size of a prompt those that hold for all of a request beyond it: each
    with the tokens that are to be passed, the largest first. `by_time`: they change within a
    day."""

    rates: Rates
    beyond: tuple[tuple[int, Rates], ...] = ()
    by_time: bool = False

    def rates_of(self, prompt: int) -> Rates:
        """Those of a request with so many tokens of input."""
        for most, rates in self.beyond:
            if prompt > most:
                return rates
        return self.rates
