"""services/gcs-emulator/gateway/resumable.py: pieces that become one request."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from aiohttp import ClientSession, web
from gateway.errors import StorageError
from gateway.resumable import UNIT, Upload, content_range
from yarl import URL

# Larger than a unit, and no multiple of one.
BODY = bytes(range(251)) * 4000


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("bytes 0-99/200", (0, 200)),
        ("bytes 100-199/*", (100, None)),
        ("bytes */200", (None, 200)),
        ("bytes */*", (None, None)),
    ],
)
def test_content_range(header: str, expected: tuple[int | None, int | None]) -> None:
    assert content_range(header) == expected


@pytest.mark.parametrize("header", ["", "bytes", "bytes 1-/2", "items 0-1/2", "bytes -1/2"])
def test_content_range_that_is_none(header: str) -> None:
    with pytest.raises(StorageError):
        content_range(header)


async def content(text: bytes, *, broken: bool = False) -> AsyncIterator[bytes]:
    for start in range(0, len(text), 99_991):
        yield text[start : start + 99_991]
    if broken:
        raise ConnectionResetError


def with_store(test: Callable[[Upload, Callable[..., Awaitable[bytes | None]]], Awaitable[None]]) -> list[bytes]:
    """Runs a test against a storage; returns the bodies of the requests that reached it."""
    bodies: list[bytes] = []

    async def put(request: web.Request) -> web.Response:
        bodies.append(await request.read())
        return web.Response(text=f"{len(bodies[-1])} bytes")

    async def run() -> None:
        application = web.Application(client_max_size=2**21)
        application.add_routes([web.put("/upload", put)])
        runner = web.AppRunner(application)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        async with ClientSession() as session:
            upload = Upload("me", "bucket", "name")

            async def take(text: bytes, range_: str | None, *, broken: bool = False) -> bytes | None:
                headers = {"Content-Range": range_} if range_ else {}
                url = URL(f"http://127.0.0.1:{port}/upload")
                answer = await upload.take(session, url, headers, content(text, broken=broken))
                return await answer.read() if answer else None

            await test(upload, take)
        await runner.cleanup()

    asyncio.run(run())
    return bodies


def test_pieces_become_one_request() -> None:
    async def test(upload: Upload, take: Callable[..., Awaitable[bytes | None]]) -> None:
        assert await take(BODY[:UNIT], f"bytes 0-{UNIT - 1}/*") is None
        assert upload.received == UNIT
        assert await take(BODY[UNIT : 3 * UNIT], f"bytes {UNIT}-{3 * UNIT - 1}/*") is None
        assert await take(BODY[3 * UNIT :], f"bytes {3 * UNIT}-{len(BODY) - 1}/{len(BODY)}") == b"1004000 bytes"

    assert with_store(test) == [BODY]


def test_end_can_be_told_by_an_empty_piece() -> None:
    async def test(upload: Upload, take: Callable[..., Awaitable[bytes | None]]) -> None:
        assert await take(BODY[:UNIT], f"bytes 0-{UNIT - 1}/*") is None
        assert await take(b"", f"bytes */{UNIT}") == b"262144 bytes"

    assert with_store(test) == [BODY[:UNIT]]


def test_whole_object_needs_no_range() -> None:
    async def test(upload: Upload, take: Callable[..., Awaitable[bytes | None]]) -> None:
        assert await take(b"0123456789", None) == b"10 bytes"

    assert with_store(test) == [b"0123456789"]


def test_upload_goes_on_where_a_piece_broke_off() -> None:
    async def test(upload: Upload, take: Callable[..., Awaitable[bytes | None]]) -> None:
        with pytest.raises(ConnectionResetError):
            await take(BODY[:600_000], f"bytes 0-999999/{len(BODY)}", broken=True)
        # The client asks how far it came.
        assert await take(b"", f"bytes */{len(BODY)}") is None
        assert upload.received == 2 * UNIT, "only whole units are kept"
        answer = await take(BODY[2 * UNIT :], f"bytes {2 * UNIT}-{len(BODY) - 1}/{len(BODY)}")
        assert answer == b"1004000 bytes"

    assert with_store(test) == [BODY]


def test_repeated_piece_counts_from_the_break() -> None:
    """Piece that is sent again counts from where the first broke off."""

    async def test(upload: Upload, take: Callable[..., Awaitable[bytes | None]]) -> None:
        with pytest.raises(ConnectionResetError):
            await take(BODY[:600_000], f"bytes 0-{3 * UNIT - 1}/*", broken=True)
        assert await take(BODY[: 3 * UNIT], f"bytes 0-{3 * UNIT - 1}/*") is None
        assert upload.received == 3 * UNIT
        # Its answer was lost, and the whole is sent again.
        assert await take(BODY[: 3 * UNIT], f"bytes 0-{3 * UNIT - 1}/*") is None
        assert upload.received == 3 * UNIT, "the same bytes again count once"
        assert await take(BODY[UNIT:], f"bytes {UNIT}-{len(BODY) - 1}/{len(BODY)}") == b"1004000 bytes"

    assert with_store(test) == [BODY]


def test_piece_that_leaves_a_gap_is_ignored() -> None:
    async def test(upload: Upload, take: Callable[..., Awaitable[bytes | None]]) -> None:
        assert await take(BODY[UNIT:], f"bytes {UNIT}-{len(BODY) - 1}/{len(BODY)}") is None
        assert upload.received == 0
        assert await take(BODY, None) == b"1004000 bytes"

    assert with_store(test) == [BODY]


def test_odd_remainder_is_sent_again() -> None:
    """Remainder of a piece that is no multiple has to be sent again."""

    async def test(upload: Upload, take: Callable[..., Awaitable[bytes | None]]) -> None:
        assert await take(BODY[: UNIT + 1], f"bytes 0-{UNIT}/*") is None
        assert upload.received == UNIT
        assert await take(BODY[UNIT:], f"bytes {UNIT}-{len(BODY) - 1}/{len(BODY)}") == b"1004000 bytes"

    assert with_store(test) == [BODY]
