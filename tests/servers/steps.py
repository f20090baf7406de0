"""The primitives of a script: what a server does on one connection, step by step.

Each step knows how to play itself on a `Peer`. Times are seconds. A step that ends the
connection has `ends = True`; nothing after it is played.
"""

import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from tests.servers.peer import Peer


class Step:
    """One thing that the server does. No ABC, of which `isinstance` takes five times as long."""

    ends: ClassVar[bool] = False

    async def play(self, peer: Peer) -> None:
        """Do it; returns when it is done."""
        raise NotImplementedError


@dataclass(frozen=True)
class Send(Step):
    """Send these bytes at once. In a framed body each Send is an HTTP chunk of its own."""

    data: bytes

    async def play(self, peer: Peer) -> None:
        await peer.send(self.data)


@dataclass(frozen=True)
class Raw(Send):
    """Send these bytes as they stand, also inside a chunked body (for broken framing)."""


@dataclass(frozen=True)
class Wait(Step):
    """Wait some seconds, or until the client leaves (which ends the reply)."""

    seconds: float

    async def play(self, peer: Peer) -> None:
        await peer.pause(self.seconds)


@dataclass(frozen=True)
class WaitFor(Step):
    """Wait until the test sets the gate. After `timeout` seconds it is a problem of the test."""

    gate: threading.Event
    timeout: float = 30.0

    async def play(self, peer: Peer) -> None:
        opened = await peer.until(self.gate.is_set, self.timeout)
        assert opened, f"the gate was not opened within {self.timeout} s"


@dataclass(frozen=True)
class Mark(Step):
    """Set the event: the script has come this far (all sent bytes are the kernel's)."""

    event: threading.Event

    async def play(self, peer: Peer) -> None:  # noqa: ARG002 — because the others need it
        self.event.set()


@dataclass(frozen=True)
class Close(Step):
    """End the connection with FIN, whatever the framing promised."""

    ends: ClassVar[bool] = True

    async def play(self, peer: Peer) -> None:
        await peer.close()


@dataclass(frozen=True)
class Reset(Step):
    """End the connection with RST (SO_LINGER 0); what was sent before it has been delivered."""

    ends: ClassVar[bool] = True

    async def play(self, peer: Peer) -> None:
        await peer.reset()


@dataclass(frozen=True)
class Stall(Step):
    """Send nothing more and keep the socket open until the client leaves."""

    ends: ClassVar[bool] = True

    async def play(self, peer: Peer) -> None:
        await peer.left.wait()
        await peer.close()


@dataclass(frozen=True)
class UntilClientLeaves(Stall):
    """A Stall that sets the event when the client closes or resets the connection.

    Also where the client does so before the script has come this far.
    """

    mark: threading.Event

    async def play(self, peer: Peer) -> None:
        await peer.left.wait()
        self.mark.set()
        await peer.close()


Part = bytes | Step | Iterable[bytes | Step]
"""What a body is written of: bytes (a Send), a step, or several of them."""


def flatten(parts: Iterable[Part]) -> tuple[Step, ...]:
    """The parts as one row of steps."""
    steps: list[Step] = []
    for part in parts:
        if isinstance(part, Step):
            steps.append(part)
        elif isinstance(part, bytes):
            steps.append(Send(part))
        else:
            steps.extend(flatten(part))
    return tuple(steps)


def repeat(data: bytes, *, every: float, times: int) -> tuple[Step, ...]:
    """`data` `times` times, `every` seconds apart."""
    return (Send(data), Wait(every)) * times


def keep_alives(*, every: float, times: int) -> tuple[Step, ...]:
    """SSE comments `: keep-alive`, `every` seconds apart."""
    return repeat(b": keep-alive\n\n", every=every, times=times)


def drip(data: bytes, *, size: int, every: float) -> tuple[Step, ...]:
    """`data` in pieces of `size` bytes, `every` seconds apart."""
    pieces = [data[at : at + size] for at in range(0, len(data), size)]
    return tuple(step for piece in pieces for step in (Send(piece), Wait(every)))


async def play(steps: Sequence[Step], peer: Peer) -> None:
    """Play the steps until one of them ends the connection. Raises ConnectionError when the client
    leaves before that; a step that waits for just this is done all the same.
    """
    try:
        for step in steps:
            await step.play(peer)
            if peer.closed:
                return
    except ConnectionError:
        for step in steps:
            if isinstance(step, UntilClientLeaves):
                step.mark.set()
        raise
