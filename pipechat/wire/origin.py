"""Who answered, as what a server sends names it. Pure."""

from collections.abc import Mapping

from pipechat.events import Chunk

_LONGEST_NAME = 200


def with_origin(chunk: Chunk, payload: object) -> Chunk:
    """`chunk` with the model that answered and its service tier, as `payload` names them."""
    if not isinstance(payload, Mapping):
        return chunk
    model, tier = (_word(payload.get(name)) for name in ("model", "service_tier"))
    return chunk._replace(model=model, tier=tier)


def _word(value: object) -> str | None:
    """A name that a server says; None for what is none."""
    return value if isinstance(value, str) and 0 < len(value) <= _LONGEST_NAME else None
