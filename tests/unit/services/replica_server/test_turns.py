"""services/mlflow: turns.py: places that a client who does nothing loses to those who wait."""

import asyncio
import time

import pytest
from replica_server import limits
from replica_server.turns import StalledError, Turn, Turns, is_health_check


@pytest.fixture(autouse=True)
def impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "PATIENCE_WHILE_OTHERS_WAIT", 0.2)


async def stall(turns: Turns, seconds: float) -> None:
    async with turns.turn() as turn:
        with turn.of_the_client():
            await asyncio.sleep(seconds)


def test_places_are_given_in_order() -> None:
    """Places are given in order and no more than there are."""
    turns, order, held = Turns(2), [], 0

    async def work(number: int) -> None:
        nonlocal held
        async with turns.turn():
            held += 1
            assert held <= 2
            order.append(number)
            await asyncio.sleep(0.01)
            held -= 1

    async def talk() -> None:
        await asyncio.gather(*(work(number) for number in range(20)))

    asyncio.run(talk())
    assert order == list(range(20))


def test_stalled_client_keeps_an_unwanted_place() -> None:
    """Stalled client keeps its place while nobody waits."""
    asyncio.run(stall(Turns(1), 0.6))


def test_stalled_client_loses_a_wanted_place() -> None:
    """Stalled client loses its place to one who waits."""

    async def talk() -> None:
        turns = Turns(1)
        stalled = asyncio.create_task(stall(turns, 60))
        await asyncio.sleep(0)
        async with asyncio.timeout(5), turns.turn():
            pass
        with pytest.raises(StalledError):
            await stalled

    asyncio.run(talk())


def test_waiting_for_storage_keeps_the_place() -> None:
    """One that waits for the storage keeps its place."""

    async def work(turns: Turns) -> str:
        async with turns.turn():
            await asyncio.sleep(0.8)
            return "done"

    async def talk() -> None:
        turns = Turns(1)
        working = asyncio.create_task(work(turns))
        await asyncio.sleep(0)
        async with turns.turn():
            assert await working == "done"

    asyncio.run(talk())


def test_no_more_are_ended_than_wait() -> None:
    async def talk() -> None:
        turns = Turns(3)
        stalled = [asyncio.create_task(stall(turns, 2)) for _ in range(3)]
        await asyncio.sleep(0)
        async with turns.turn():
            pass
        ended = await asyncio.gather(*stalled, return_exceptions=True)
        assert [type(result) for result in ended].count(StalledError) == 1

    asyncio.run(talk())


def test_request_can_say_how_it_is_ended() -> None:
    async def talk() -> None:
        turns, over = Turns(1), asyncio.Event()

        async def work() -> Turn:
            async with turns.turn() as turn:
                turn.end = over.set
                with turn.of_the_client():
                    await over.wait()
            return turn

        working = asyncio.create_task(work())
        await asyncio.sleep(0)
        async with turns.turn():
            assert (await working).ended

    asyncio.run(talk())


def test_one_that_gives_up_waiting_takes_no_place() -> None:
    async def talk() -> None:
        turns = Turns(1)
        async with turns.turn():
            waiting = asyncio.create_task(stall(turns, 60))
            await asyncio.sleep(0)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
        async with asyncio.timeout(1), turns.turn():
            pass

    asyncio.run(talk())


def test_client_that_stalled_waiting_loses_place() -> None:
    """One that stalled while it waited loses its place soon."""

    async def late(turns: Turns, last: float) -> None:
        async with turns.turn() as turn:
            with turn.of_the_client(last):
                await asyncio.sleep(60)

    async def talk() -> None:
        turns, now = Turns(1), time.monotonic()
        stalled = [asyncio.create_task(late(turns, now)) for _ in range(20)]
        await asyncio.sleep(0)
        async with asyncio.timeout(3), turns.turn():
            pass
        assert {type(result) for result in await asyncio.gather(*stalled, return_exceptions=True)} == {StalledError}

    asyncio.run(talk())


def test_health_check_is_next_in_line() -> None:
    """Health check is the next and needs a place too."""
    order: list[str] = []

    async def work(turns: Turns, name: str, first: bool) -> None:
        async with turns.turn(first):
            order.append(name)

    async def talk() -> None:
        turns = Turns(1)
        async with turns.turn():
            waiting = [asyncio.create_task(work(turns, "client", first=False)) for _ in range(3)]
            await asyncio.sleep(0)
            waiting.append(asyncio.create_task(work(turns, "check", first=True)))
            await asyncio.sleep(0.05)
            assert order == []
        await asyncio.gather(*waiting)

    asyncio.run(talk())
    assert order == ["check", "client", "client", "client"]
    assert is_health_check({"client": ("127.0.0.1", 1234)})
    assert not is_health_check({"client": ("172.18.0.1", 1234)})
    assert not is_health_check({})
