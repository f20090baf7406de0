"""--engine: who asks the items of a batch."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from importlib.util import find_spec

from pipechat.batch.asking import LocalWorker, Worker
from pipechat.batch.descriptors import jobs_that_fit
from pipechat.batch.worker_process import SetUp
from pipechat.batch.workers import Workers, close_all, started
from pipechat.client.aio_sender import Head
from pipechat.client.async_exchange import AsyncSender
from pipechat.client.async_senders import NO_HEADS, heads_of
from pipechat.commands.wiring import make_async_sender
from pipechat.environment import Environment
from pipechat.errors import UsageError, missing_extra
from pipechat.settings.resolve import Settings
from pipechat.turn.conversation import Wanted
from pipechat.wire.dialect import dialect_of


def check_engine(settings: Settings) -> None:
    """Raises UsageError where the options about the engine do not go together, or it is not
    installed."""
    origins = settings.origins
    if settings.engine == "local":
        if origins.get("ray_address", "").startswith("--"):
            message = f"{origins['ray_address']} needs --engine ray"
            raise UsageError("bad_option", message)
        return
    engine = origins["engine"]
    for name in ("workers", "record", "replay"):
        origin = origins.get(name)
        # A file of this machine, or its processes; what is set for all runs is passed over.
        if origin is not None and (name != "workers" or origin.startswith("--")):
            raise UsageError("bad_option", f"{origin} does not go with {engine} ray")
    address = settings.ray_address
    if address is not None and (not address or "://" in address):
        message = f"{origins['ray_address']}: {address!r} is not HOST:PORT or auto"
        hint = "Run it on a node of the cluster, with the address that `ray start` was given."
        raise UsageError("bad_option", message, hint)
    if find_spec("ray") is None:
        raise missing_extra(f"{engine} ray needs Ray", "ray>=2.50")


def with_jobs_that_fit(env: Environment, settings: Settings) -> Settings:
    """`settings` with no more jobs than there are descriptors for; says so where they are fewer
    than was said."""
    fit = jobs_that_fit(settings.jobs, connect=settings.engine == "local")
    if fit < settings.jobs:
        few = f"too few files may be open for {settings.jobs} jobs (`ulimit -n`)"
        env.warn(f"{few}: {fit} at once are asked; raise it, or lower -j")
    return settings._replace(jobs=fit)


async def make_worker(env: Environment, settings: Settings, wanted: Wanted | None) -> Worker:
    """Who asks, ready.

    Raises:
        PipechatError: there is nobody.
    """
    if settings.engine == "local":
        return await _on_this_machine(env, settings, wanted)
    from pipechat.batch.ray_worker import start_ray_worker

    tell = env.stderr.note if env.verbose else lambda _line: None
    return await start_ray_worker(settings, env.environ, wanted, tell)


async def _on_this_machine(env: Environment, settings: Settings, wanted: Wanted | None) -> Worker:
    alone = settings.offline or settings.record or settings.replay
    # What streams into events is shown as it comes, which only this process can.
    if alone or settings.workers == 1 or (settings.events and settings.batch_stream):
        sender = make_async_sender(env, settings)
        await _written(settings, sender)
        return LocalWorker(settings, sender, wanted)
    wanted_others = max(settings.workers - 1, 0)
    others = await started(wanted_others)  # which import while this process does
    if len(others) < wanted_others:
        few = f"{wanted_others - len(others)} of {settings.workers} processes could not be started"
        env.warn(f"{few}: look at `ulimit -n` and `ulimit -u`, or lower --workers")
    try:
        sender = make_async_sender(env, settings, rarely=bool(others))
        heads = await _written(settings, sender)
    except BaseException:
        await close_all(others)
        raise
    common = SetUp(settings, dict(env.environ), wanted, settings.jobs, heads)
    local = LocalWorker(settings, sender, wanted)
    workers = Workers(local, others, common, may_grow=settings.workers == 0)
    await workers.open()
    return workers


async def _written(settings: Settings, sender: AsyncSender) -> Mapping[str, Head]:
    """The heads of all requests: before the first item, whose time and whose place in the pace of
    the others that would take from. Where the SDK writes none, an item says why."""
    asked = ("chat", "responses") if settings.api == "auto" else (settings.api,)
    with suppress(Exception):
        return await heads_of(sender, [dialect_of(api).path for api in asked])
    return NO_HEADS
