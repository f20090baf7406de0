"""--record and --replay: their files, and the senders that stand around another."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import NoReturn

from pipechat.client.exchange import Sender
from pipechat.client.record_replay import RecordingSender, ReplaySender
from pipechat.client.recording import Recorded, read_recording
from pipechat.commands.own_files import RECORDING, check_kind
from pipechat.environment import Environment
from pipechat.errors import UsageError, unwritable_file
from pipechat.settings.resolve import Settings
from pipechat.store.faults import words_for, words_for_named
from pipechat.store.locked_file import (
    LockedFile,
    open_to_read,
    read_all,
    settled_size,
)


def recorded_and_replayed(
    env: Environment, settings: Settings, make_sender: Callable[[], Sender]
) -> Sender:
    """The sender that --record and --replay ask for. `make_sender` makes the one that really
    sends, where there is use for it.

    Raises:
        UsageError: the recording cannot be read, or the file holds something else.
        OutputError: it cannot be written; nothing was sent.
    """
    secrets = _secrets(env, settings)
    sender = None
    if settings.record is not None:
        append = _appending(settings.record, settings.origins["record"])
        sender = RecordingSender(make_sender(), append, secrets)
    if settings.replay is None:
        assert sender is not None
        return sender
    recorded = _read(env, settings, settings.replay)
    return ReplaySender(
        settings.replay, recorded, otherwise=sender, paced=settings.replay_pace, secrets=secrets
    )


def _secrets(env: Environment, settings: Settings) -> Sequence[str]:
    """What must not reach a recording, whoever echoes it: recordings are committed, so whose
    account it was is in none of them either."""
    accounts = (env.environ.get(name, "") for name in ("OPENAI_ORG_ID", "OPENAI_PROJECT_ID"))
    return [*settings.secrets, *accounts]


def _appending(path: str, origin: str) -> Callable[[bytes], None]:
    """Adds a block to the file, whole or not at all, whoever else adds to it. That it can be
    done is tried now, before anything is sent."""

    def fail(error: OSError) -> NoReturn:
        named = f"{origin}: {path}"
        words = words_for_named(path, error)
        raise unwritable_file("recording_unwritable", named, error, *words) from error

    def append(block: bytes) -> None:
        try:
            with LockedFile(whole_path, create=True) as file:
                file.append(block)
        except OSError as error:
            fail(error)

    check_kind(path, origin, RECORDING)
    try:
        whole_path = os.path.abspath(path)
        with LockedFile(whole_path, create=True):
            return append
    except OSError as error:
        fail(error)


def _read(env: Environment, settings: Settings, path: str) -> list[Recorded]:
    origin = settings.origins["replay"]
    try:
        fd = open_to_read(path)
        try:
            settled_size(fd)
            content = read_all(fd)
        finally:
            os.close(fd)
    except FileNotFoundError as error:
        if settings.record is not None:
            return []
        message = f"{origin}: {path}: there is no such file"
        raise UsageError("unreadable_input", message, "Make it with --record FILE.") from error
    except OSError as error:
        raise UsageError("unreadable_input", f"{origin}: {path}: {words_for(error)[0]}") from error
    recorded, strange = read_recording(content)
    if strange and not recorded:
        message = f"{origin}: {path}: it is no recording (line {strange[0]} is of none)"
        raise UsageError("unreadable_input", message, "Make one with --record FILE.")
    for number in strange:
        env.warn(f"{path}: line {number} belongs to no whole exchange, and is passed over")
    return recorded
