"""A warning, once a day, of a model that its endpoint says will be gone. Imported only then."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from pipechat.environment import Environment
from pipechat.settings.cached_note import CachedNote
from pipechat.settings.resolve import Settings
from pipechat.wire.deprecation import told_end


def warn_of_end(
    env: Environment,
    settings: Settings,
    headers: Mapping[str, str],
    listed: str | None,
    cache: str | None,
) -> None:
    """Warn of what `headers` say of the model, unless it was said today. Never a failure.

    Args:
        listed: the day of its shutdown by the list of models.
        cache: the folder that keeps what was said; who has none is told each time.
    """
    end = told_end(headers) or (f"is gone after {listed}" if listed else None)
    if end is None or env.quiet:
        return
    today = datetime.now(UTC).strftime("%Y-%m-%d")
    note = CachedNote(cache, "end", settings.endpoint.url, settings.model) if cache else None
    if note is not None and note.read() == today:
        return
    env.warn(f"{settings.host} says that {settings.model} {end}; `pipechat models` lists others")
    if note is not None:
        note.write(today)
