"""A warning, once a day, of a model that its endpoint says will be gone. Imported only then."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from pipechat.environment import Environment
from pipechat.errors import SetupError
from pipechat.settings.cached_note import CachedNote
from pipechat.settings.config import find_cache
from pipechat.settings.resolve import Settings
from pipechat.wire.deprecation import told_end


def warn_of_end(env: Environment, settings: Settings, headers: Mapping[str, str]) -> None:
    """Warn of what `headers` say of the model, unless it was said today. Never a failure."""
    end = told_end(headers)
    if end is None or env.quiet:
        return
    today = datetime.now(UTC).strftime("%Y-%m-%d")
    try:
        folder = find_cache(env.environ)
    except SetupError:  # who has no home is told each time
        folder = ""
    note = CachedNote(folder, "end", settings.endpoint.url, settings.model) if folder else None
    if note is not None and note.read() == today:
        return
    env.warn(f"{settings.host} says that {settings.model} {end}; `pipechat models` lists others")
    if note is not None:
        note.write(today)
