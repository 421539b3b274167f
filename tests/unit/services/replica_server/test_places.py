"""services/mlflow: places.py: places that a client who does nothing loses to those who wait."""

import asyncio
import time

import pytest
from replica_server import limits
from replica_server.places import Place, Places, StalledError, is_health_check


@pytest.fixture(autouse=True)
def impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "PATIENCE_WHILE_OTHERS_WAIT", 0.2)


async def stall(places: Places, seconds: float) -> None:
    async with places.hold() as place:
        with place.of_the_client():
            await asyncio.sleep(seconds)


def test_places_are_given_in_order() -> None:
    """Places are given in order and no more than there are."""
    places, order, held = Places(2), [], 0

    async def work(number: int) -> None:
        nonlocal held
        async with places.hold():
            held += 1
            assert held <= 2
            order.append(number)
            await asyncio.sleep(0.01)
            held -= 1

    async def talk() -> None:
        await asyncio.gather(*(work(number) for number in range(20)))

    asyncio.run(talk())
    assert order == list(range(20))


@pytest.mark.slow
def test_stalled_client_keeps_an_unwanted_place() -> None:
    """Stalled client keeps its place while nobody waits."""
    asyncio.run(stall(Places(1), 0.6))


def test_stalled_client_loses_a_wanted_place() -> None:
    """Stalled client loses its place to one who waits."""

    async def talk() -> None:
        places = Places(1)
        stalled = asyncio.create_task(stall(places, 60))
        await asyncio.sleep(0)
        async with asyncio.timeout(5), places.hold():
            pass
        with pytest.raises(StalledError):
            await stalled

    asyncio.run(talk())


@pytest.mark.slow
def test_waiting_for_storage_keeps_the_place() -> None:
    """One that waits for the storage keeps its place."""

    async def work(places: Places) -> str:
        async with places.hold():
            await asyncio.sleep(0.8)
            return "done"

    async def talk() -> None:
        places = Places(1)
        working = asyncio.create_task(work(places))
        await asyncio.sleep(0)
        async with places.hold():
            assert await working == "done"

    asyncio.run(talk())


@pytest.mark.slow
def test_no_more_are_ended_than_wait() -> None:
    async def talk() -> None:
        places = Places(3)
        stalled = [asyncio.create_task(stall(places, 2)) for _ in range(3)]
        await asyncio.sleep(0)
        async with places.hold():
            pass
        ended = await asyncio.gather(*stalled, return_exceptions=True)
        assert [type(result) for result in ended].count(StalledError) == 1

    asyncio.run(talk())


def test_request_can_say_how_it_is_ended() -> None:
    async def talk() -> None:
        places, over = Places(1), asyncio.Event()

        async def work() -> Place:
            async with places.hold() as place:
                place.end = over.set
                with place.of_the_client():
                    await over.wait()
            return place

        working = asyncio.create_task(work())
        await asyncio.sleep(0)
        async with places.hold():
            assert (await working).ended

    asyncio.run(talk())


def test_one_that_gives_up_waiting_takes_no_place() -> None:
    async def talk() -> None:
        places = Places(1)
        async with places.hold():
            waiting = asyncio.create_task(stall(places, 60))
            await asyncio.sleep(0)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
        async with asyncio.timeout(1), places.hold():
            pass

    asyncio.run(talk())


@pytest.mark.slow
def test_client_that_stalled_waiting_loses_place() -> None:
    """One that stalled while it waited loses its place soon."""

    async def late(places: Places, last: float) -> None:
        async with places.hold() as place:
            with place.of_the_client(last):
                await asyncio.sleep(60)

    async def talk() -> None:
        places, now = Places(1), time.monotonic()
        stalled = [asyncio.create_task(late(places, now)) for _ in range(20)]
        await asyncio.sleep(0)
        async with asyncio.timeout(3), places.hold():
            pass
        assert {type(result) for result in await asyncio.gather(*stalled, return_exceptions=True)} == {StalledError}

    asyncio.run(talk())


def test_health_check_is_next_in_line() -> None:
    """Health check is the next and needs a place too."""
    order: list[str] = []

    async def work(places: Places, name: str, first: bool) -> None:
        async with places.hold(first):
            order.append(name)

    async def talk() -> None:
        places = Places(1)
        async with places.hold():
            waiting = [asyncio.create_task(work(places, "client", first=False)) for _ in range(3)]
            await asyncio.sleep(0)
            waiting.append(asyncio.create_task(work(places, "check", first=True)))
            await asyncio.sleep(0.05)
            assert order == []
        await asyncio.gather(*waiting)

    asyncio.run(talk())
    assert order == ["check", "client", "client", "client"]
    assert is_health_check({"client": ("127.0.0.1", 1234)})
    assert not is_health_check({"client": ("172.18.0.1", 1234)})
    assert not is_health_check({})
