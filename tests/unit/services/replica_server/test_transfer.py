"""services/mlflow: incoming.py and outgoing.py: bodies that pass between the event loop and a thread."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator
from typing import IO

import google_crc32c
import pytest
from mlflow.exceptions import MlflowException
from replica_server import limits
from replica_server.artifacts import incoming, outgoing, transfer
from replica_server.places import Places

BODY = bytes(range(256)) * (5 * limits.BLOCK // 256) + b"rest"


async def chunks(content: bytes, size: int = 65_000) -> AsyncIterator[bytes]:
    for start in range(0, len(content), size):
        yield content[start : start + size]


def test_incoming_body_is_read_as_a_file() -> None:
    """Incoming body is read as a file while it arrives."""
    parts: list[bytes] = []

    def store(body: incoming.Incoming) -> None:
        head = body.read(1000)
        assert len(head) == 1000
        assert body.seek(0) == body.tell() == 0
        while part := body.read(700_000):
            parts.append(part)
            assert body.tell() == sum(map(len, parts))
        assert body.received == len(BODY)
        assert body.checksum.digest() == google_crc32c.Checksum(BODY).digest()  # type: ignore[no-untyped-call]

    asyncio.run(incoming.receive(chunks(BODY), store))
    assert b"".join(parts) == BODY
    assert {len(part) for part in parts[:-1]} == {700_000}


def test_incoming_body_can_go_back_a_little() -> None:
    """Incoming body can be read again from within what was read last."""
    read = bytearray()
    pieces = 0

    def store(body: incoming.Incoming) -> None:
        assert not body.seekable(), "the storage's clients would go where they like"
        nonlocal pieces
        while part := body.read(700_000):
            # As a storage that keeps the first half only, every other time.
            pieces += 1
            kept = len(part) // 2 if pieces % 2 else len(part)
            read.extend(part[:kept])
            body.seek(len(read))
            assert body.tell() == len(read)
        with pytest.raises(MlflowException, match=r"cannot go on at byte 0 of \d+"):
            body.seek(0)
        assert body.received == len(BODY)
        assert body.checksum.digest() == google_crc32c.Checksum(BODY).digest()  # type: ignore[no-untyped-call]

    asyncio.run(incoming.receive(chunks(BODY), store))
    assert bytes(read) == BODY


@pytest.mark.parametrize("position", [0, 999, 2001])
def test_incoming_body_goes_back_no_further(position: int) -> None:
    """Incoming body goes back no further and never ahead."""

    def store(body: incoming.Incoming) -> None:
        body.read(1000)
        body.read(1000)
        with pytest.raises(MlflowException, match="cannot go on"):
            body.seek(position)

    asyncio.run(incoming.receive(chunks(BODY), store))


def test_incoming_body_waits_for_the_storage() -> None:
    sent = 0

    async def counted() -> AsyncIterator[bytes]:
        nonlocal sent
        for _ in range(100):
            sent += 1
            yield bytes(limits.BLOCK)

    def store(body: incoming.Incoming) -> None:
        body.read(1)
        time.sleep(0.2)
        assert sent <= transfer.AHEAD + 3

    asyncio.run(incoming.receive(counted(), store))
    assert sent == 100, "the rest was not taken in: the client would see a broken connection"


def test_refusal_comes_after_the_whole_body() -> None:
    """Refusal is raised after the whole body was taken in."""

    def store(body: incoming.Incoming) -> None:
        raise ValueError("refused")

    with pytest.raises(ValueError, match="refused"):
        asyncio.run(incoming.receive(chunks(BODY), store))


def test_broken_body_is_an_error_to_the_storage() -> None:
    """Body that breaks off is an error to the storage and not its end."""

    async def broken() -> AsyncIterator[bytes]:
        yield BODY
        raise ConnectionResetError

    seen: list[BaseException] = []

    def store(body: incoming.Incoming) -> None:
        try:
            body.read()
        except MlflowException as error:
            seen.append(error)
            raise

    with pytest.raises(MlflowException, match="broke off"):
        asyncio.run(incoming.receive(broken(), store))
    assert len(seen) == 1


def test_silent_client_is_an_error_to_storage(monkeypatch: pytest.MonkeyPatch) -> None:
    """Client that falls silent is an error to the storage and no end."""
    monkeypatch.setattr(incoming, "PATIENCE", 0.2)

    async def silent() -> AsyncIterator[bytes]:
        yield BODY
        await asyncio.sleep(60)

    def store(body: incoming.Incoming) -> None:
        body.read()

    with pytest.raises(MlflowException, match="broke off"):
        asyncio.run(incoming.receive(silent(), store))


def test_outgoing_body_is_what_was_written() -> None:
    def fetch(target: IO[bytes]) -> None:
        for start in range(0, len(BODY), 8192):
            target.write(BODY[start : start + 8192])

    async def collect() -> bytes:
        return b"".join([block async for block in await outgoing.send(fetch)])

    assert asyncio.run(collect()) == BODY


def test_later_error_breaks_the_download_off() -> None:
    """Error before the first byte is raised at once and a later one breaks off."""

    def nothing(_: IO[bytes]) -> None:
        raise FileNotFoundError("gone")

    def half(target: IO[bytes]) -> None:
        target.write(bytes(2 * limits.BLOCK))
        raise ConnectionResetError("half")

    async def collect() -> None:
        with pytest.raises(FileNotFoundError, match="gone"):
            await outgoing.send(nothing)
        body = await outgoing.send(half)
        with pytest.raises(ConnectionResetError, match="half"):
            async for _ in body:
                pass

    asyncio.run(collect())


def test_empty_body_is_sent() -> None:
    async def collect() -> list[bytes]:
        return [block async for block in await outgoing.send(lambda _: None)]

    assert asyncio.run(collect()) == []


def test_thread_ends_when_the_client_is_gone() -> None:
    ended: list[BaseException] = []

    def fetch(target: IO[bytes]) -> None:
        try:
            while True:
                target.write(bytes(limits.BLOCK))
        except outgoing.Abandoned as error:
            ended.append(error)
            raise

    async def give_up() -> None:
        body = await outgoing.send(fetch)
        await anext(body)
        await body.aclose()  # type: ignore[attr-defined]
        deadline = time.monotonic() + 10
        while not ended and time.monotonic() < deadline:
            await asyncio.sleep(0.01)

    asyncio.run(give_up())
    assert ended


@pytest.fixture
def places(monkeypatch: pytest.MonkeyPatch) -> None:
    """One large upload at a time, and little patience with a silent one."""
    monkeypatch.setattr(incoming, "LARGE_UPLOADS", Places(1))
    monkeypatch.setattr(incoming, "SMALL_UPLOADS", Places(1))
    monkeypatch.setattr(limits, "PATIENCE_WHILE_OTHERS_WAIT", 0.2)


async def stalled(sent: int) -> AsyncIterator[bytes]:
    for _ in range(sent // 1000):
        yield bytes(1000)
    await asyncio.sleep(60)


@pytest.mark.slow
@pytest.mark.usefixtures("places")
@pytest.mark.parametrize("sent", [0, 1000, 100_000, 3 * limits.BLOCK])
@pytest.mark.parametrize("size", [1000, len(BODY)])
def test_silent_upload_keeps_no_other_from_going_on(sent: int, size: int) -> None:
    stored: list[int] = []

    def store(body: incoming.Incoming) -> None:
        content = body.read()
        stored.append(len(content))

    async def talk() -> None:
        incoming.announced.set(5 * limits.BLOCK)
        silent = [asyncio.create_task(incoming.receive(stalled(sent), store)) for _ in range(5)]
        await asyncio.sleep(0.1)
        incoming.announced.set(size)
        async with asyncio.timeout(10):
            await incoming.receive(chunks(BODY[:size]), store)
        for task in silent:
            task.cancel()
        await asyncio.gather(*silent, return_exceptions=True)

    asyncio.run(talk())
    assert stored == [size]


@pytest.mark.usefixtures("places")
def test_small_upload_does_not_wait_for_large_ones() -> None:
    goes_on = threading.Event()
    small: list[bytes] = []

    def slow(body: incoming.Incoming) -> None:
        body.read()
        assert goes_on.wait(10)

    async def talk() -> None:
        large = asyncio.create_task(incoming.receive(chunks(BODY), slow))
        await asyncio.sleep(0.1)
        async with asyncio.timeout(5):
            await incoming.receive(chunks(b"text"), lambda body: small.append(body.read()))
        goes_on.set()
        await large

    asyncio.run(talk())
    assert small == [b"text"]
