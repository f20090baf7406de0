"""Jobs of a batch over actors: who gets the next, and what is lost has a successor, within bounds.

The actors are of the test's own: an answer, or a loss, comes when the test says so.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable

import pytest

from pipechat.batch.asking import WorkerLostError
from pipechat.batch.spreading import TRIES, Spreader
from pipechat.errors import BugError, PipechatError, SetupError


class FakeActor:
    """Answers when it is let, with its own number before the job."""

    def __init__(self, number: int, *, is_let: bool = True) -> None:
        self.number = number
        self.jobs: list[bytes] = []
        self.has_ended = False
        self._let = asyncio.Event()
        self._is_lost = False
        if is_let:
            self._let.set()

    async def ask(self, job: bytes) -> bytes:
        self.jobs.append(job)
        await self._let.wait()
        if self._is_lost:
            raise WorkerLostError(f"actor {self.number} died")
        return b"%d:%s" % (self.number, job)

    def let(self) -> None:
        self._let.set()

    def lose(self) -> None:
        self._is_lost = True
        self._let.set()

    def end(self) -> None:
        self.has_ended = True


class Pool:
    """Starts actors, and notes them. `fails`: what comes of try 0, 1, … instead of an actor."""

    def __init__(self, fails: Callable[[int], Exception | None], *, is_let: bool) -> None:
        self.actors: list[FakeActor] = []
        self.tries = 0
        self._fails = fails
        self._is_let = is_let

    async def start(self) -> FakeActor:
        number, self.tries = self.tries, self.tries + 1
        await asyncio.sleep(0)
        failure = self._fails(number)
        if failure is not None:
            raise failure
        actor = FakeActor(number, is_let=self._is_let)
        self.actors.append(actor)
        return actor


def never(_number: int) -> None:
    return None


def run(
    check: Callable[[Pool, Spreader], Awaitable[None]],
    count: int = 2,
    fails: Callable[[int], Exception | None] = never,
    *,
    is_let: bool = True,
) -> None:
    async def whole() -> None:
        pool = Pool(fails, is_let=is_let)
        spreader = Spreader(pool.start, count, wait_s=lambda _attempt: 0.0)
        await check(pool, spreader)
        spreader.close()

    asyncio.run(asyncio.wait_for(whole(), 20))


async def settle() -> None:
    """Let everything go on until it waits for the test."""
    for _ in range(20):
        await asyncio.sleep(0)


@pytest.mark.parametrize("count", [1, 2, 5])
def test_the_least_busy_actor_gets_the_next_job(count: int) -> None:
    async def check(pool: Pool, spreader: Spreader) -> None:
        await spreader.open()
        await settle()
        asked = [asyncio.ensure_future(spreader.ask(b"%d" % n)) for n in range(4 * count)]
        await settle()
        assert [len(actor.jobs) for actor in pool.actors] == [4] * count
        for actor in pool.actors:
            actor.let()
        answers = await asyncio.gather(*asked)
        assert [answer.partition(b":")[2] for answer in answers] == [
            b"%d" % n for n in range(4 * count)
        ]

    run(check, count, is_let=False)


def test_the_first_actor_answers_while_others_do_not_start() -> None:
    async def check(pool: Pool, spreader: Spreader) -> None:
        await spreader.open()
        for _ in range(50):
            assert (await spreader.ask(b"x")).endswith(b"x")
            await settle()
        assert pool.tries > 2 * TRIES

    run(check, 3, lambda number: WorkerLostError("no room") if number else None)


@pytest.mark.parametrize("in_flight", [1, 3, 40])
def test_jobs_of_a_lost_actor_are_lost_and_one_other_takes_its_place(in_flight: int) -> None:
    async def check(pool: Pool, spreader: Spreader) -> None:
        await spreader.open()
        await settle()
        asked = [asyncio.ensure_future(spreader.ask(b"x")) for _ in range(2 * in_flight)]
        await settle()
        lost, other = pool.actors
        lost.lose()
        await settle()
        assert lost.has_ended
        assert len(pool.actors) == 3, "one successor, however many jobs were lost"
        other.let()
        done = await asyncio.gather(*asked, return_exceptions=True)
        assert Counter(type(each) for each in done) == {
            bytes: in_flight,
            WorkerLostError: in_flight,
        }
        pool.actors[2].let()
        assert await spreader.ask(b"again")
        assert not other.has_ended

    run(check, is_let=False)


@pytest.mark.parametrize("count", [1, 2, 5])
def test_where_no_actor_can_be_had_the_run_is_told_to_stop(count: int) -> None:
    async def check(pool: Pool, spreader: Spreader) -> None:
        with pytest.raises(PipechatError, match="did not start: no room") as caught:
            await spreader.open()
        assert (caught.value.code, caught.value.exit_code) == ("workers_lost", 5)
        assert pool.tries <= count + TRIES + count

    run(check, count, lambda _number: WorkerLostError("no room"))


@pytest.mark.parametrize("count", [1, 2, 5])
def test_a_job_that_ends_every_actor_does_not_go_on_for_ever(count: int) -> None:
    async def lose_one(pool: Pool, spreader: Spreader) -> None:
        for actor in pool.actors:
            actor.lose()
        await spreader.ask(b"poison")

    async def check(pool: Pool, spreader: Spreader) -> None:
        await spreader.open()
        for _ in range(count + TRIES):
            with pytest.raises(WorkerLostError):
                await lose_one(pool, spreader)
            await settle()
        with pytest.raises(PipechatError, match=r"actor \d+ died") as caught:
            await lose_one(pool, spreader)
        assert (caught.value.code, caught.value.exit_code) == ("workers_lost", 5)

    run(check, count)


def test_losses_between_answers_are_no_reason_to_stop() -> None:
    async def check(pool: Pool, spreader: Spreader) -> None:
        await spreader.open()
        for _ in range(10 * TRIES):
            pool.actors[-1].lose()
            with pytest.raises(WorkerLostError):
                await spreader.ask(b"x")
            await settle()
            assert await spreader.ask(b"x")

    run(check, 1)


def test_what_would_fail_again_everywhere_stops_at_once_with_its_own_code() -> None:
    async def check(pool: Pool, spreader: Spreader) -> None:
        with pytest.raises(SetupError, match="another version"):
            await spreader.open()
        assert pool.tries <= 2

    run(check, 2, lambda _number: SetupError("bad_worker", "another version"))


def test_a_bug_in_starting_one_is_told_and_nobody_waits_for_ever() -> None:
    async def check(_pool: Pool, spreader: Spreader) -> None:
        with pytest.raises(BugError, match="unforeseen KeyError"):
            await spreader.open()

    run(check, 2, lambda _number: KeyError("of Ray's"))


def test_what_is_in_flight_may_end_when_nobody_else_can_be_had() -> None:
    async def check(pool: Pool, spreader: Spreader) -> None:
        await spreader.open()
        await settle()
        asked = [asyncio.ensure_future(spreader.ask(b"x")) for _ in range(2)]
        await settle()
        lost, other = pool.actors
        lost.lose()
        await settle()
        with pytest.raises(SetupError):
            await spreader.ask(b"y")
        other.let()
        done = await asyncio.gather(*asked, return_exceptions=True)
        assert {type(each) for each in done} == {bytes, WorkerLostError}

    def fails(number: int) -> PipechatError | None:
        return SetupError("bad_worker", "another version") if number == 2 else None

    run(check, 2, fails, is_let=False)


def test_every_actor_is_ended_at_the_close() -> None:
    async def check(pool: Pool, spreader: Spreader) -> None:
        await spreader.open()
        await settle()
        spreader.close()
        assert [actor.has_ended for actor in pool.actors] == [True] * 3

    run(check, 3)
