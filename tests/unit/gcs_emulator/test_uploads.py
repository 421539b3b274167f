"""The name of an upload is found however its body is cut into pieces, and what was read is passed on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from gateway.errors import StorageError
from gateway.uploads import METADATA_LIMIT, read_name

BODY = (
    b"--==boundary==\r\ncontent-type: application/json; charset=UTF-8\r\n\r\n"
    b'{"name": "folder/file.bin"}\r\n'
    b"--==boundary==\r\ncontent-type: application/octet-stream\r\n\r\n"
    b"content with --==boundary in it\r\n--==boundary==--"
)
CONTENT_TYPE = 'multipart/related; boundary="==boundary=="'


async def pieces(body: bytes, size: int) -> AsyncIterator[bytes]:
    for start in range(0, len(body), size):
        yield body[start : start + size]


@pytest.mark.parametrize("size", [1, 7, 64, 10_000])
def test_the_name_in_the_first_part(size: int) -> None:
    async def read() -> tuple[str, bytes, bytes]:
        chunks = pieces(BODY, size)
        name, head = await read_name(chunks, CONTENT_TYPE, multipart=True)
        return name, head, b"".join([chunk async for chunk in chunks])

    name, head, rest = asyncio.run(read())
    assert name == "folder/file.bin"
    assert head + rest == BODY


def test_name_in_a_resumable_uploads_start() -> None:
    """The name in a resumable uploads first request."""
    name, head = asyncio.run(read_name(pieces(b'{"name": "a"}', 4), "application/json", multipart=False))
    assert (name, head) == ("a", b'{"name": "a"}')


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"no parts at all", CONTENT_TYPE),
        (BODY, "multipart/related"),
        (BODY.replace(b'{"name"', b"{name"), CONTENT_TYPE),
        (BODY.replace(b'{"name": "folder/file.bin"}', b"[]"), CONTENT_TYPE),
        (b"x" * (2 * METADATA_LIMIT), CONTENT_TYPE),
    ],
)
def test_what_is_no_upload_is_refused(body: bytes, content_type: str) -> None:
    with pytest.raises(StorageError, match=r".*") as caught:
        asyncio.run(read_name(pieces(body, 4096), content_type, multipart=True))
    assert caught.value.status == 400
