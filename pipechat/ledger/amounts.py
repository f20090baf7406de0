"""What a line of the ledger counts for in a budget: tokens, or billionths of a dollar. Pure."""

from collections.abc import Callable, Mapping
from decimal import ROUND_CEILING, Decimal
from typing import Any, Protocol

from pipechat.ledger.tokens import Tokens, tokens_of
from pipechat.messages import Usage

Line = Mapping[str, Any]
Price = Callable[[str, str | None, str | None, Usage | None, str | None, bool], Decimal | None]
"""What a model costs at a host, by a tier, for a usage, at a time, and whether that usage is a
bound; None: not known."""

NANO = 1_000_000_000


class Budget(Protocol):
    """`amount`: in tokens (unit `tok`), or in billionths of a dollar (`usd`), that may be spent in
    a `period`: `day`, `month` or `session`. `said`: as it was given."""

    @property
    def amount(self) -> int: ...
    @property
    def unit(self) -> str: ...
    @property
    def period(self) -> str: ...
    @property
    def said(self) -> str: ...


def is_line(record: object) -> bool:
    """Whether a decoded line is one of the ledger's."""
    if not isinstance(record, dict) or record.get("v") != 1:
        return False
    return all(isinstance(record.get(name), str) for name in ("at", "turn", "model", "status"))


def amount_of(line: Line, unit: str, price: Price) -> int | None:
    """What `line` counts for, by what was reported, else by its bound; None: it has no price.

    An answer in a tier, or with tokens of a kind, that has no price counts as one of the standard
    tier at the dearest price of its side: what a budget let go is never nothing.
    """
    usage, tokens, is_bound = _counted(line)
    if tokens is None:
        return 0
    if unit == "tok":
        return tokens.prompt + tokens.completion
    models = [model for model in (line["model"], line.get("asked")) if isinstance(model, str)]
    host, tier, at = _text(line, "host"), _text(line, "tier"), line["at"]
    ways = [(model, tier, is_bound) for model in models]
    if not is_bound:
        ways += [(model, None, True) for model in models]
    for model, each, at_most in ways:
        cost = price(model, host, each, usage, at, at_most)
        if cost is not None:
            return int((cost * NANO).to_integral_value(ROUND_CEILING))
    return None


def shown(amount: int, unit: str) -> str:
    """`1,234 tokens`, `$0.25`; as many digits as say something."""
    if unit == "tok":
        return f"{amount:,} tokens"
    whole, part = divmod(amount, NANO)
    return f"${whole:,}.{f'{part:09}'.rstrip('0'):0<2}"


def _counted(line: Line) -> tuple[Usage | None, Tokens | None, bool]:
    """The usage that counts, its tokens, and whether it is a bound."""
    usage = line.get("usage")
    if isinstance(usage, dict) and (tokens := tokens_of(usage)):
        return usage, tokens, False
    match line.get("bound"):
        case [int(asked), int(answered)]:
            usage = {"prompt_tokens": asked, "completion_tokens": answered}
            return usage, tokens_of(usage), True
    return None, None, False


def _text(line: Line, name: str) -> str | None:
    value = line.get(name)
    return value if isinstance(value, str) else None
