"""An upload's requests: the content's checksum is signed, and the content is not hashed a second time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from replica_server.artifacts import s3
from replica_server.artifacts.incoming import Body


@pytest.mark.parametrize("operation", ["put_object", "upload_part"])
def test_checksum_is_signed_and_content_is_not(operation: str) -> None:
    import boto3

    client = boto3.client(
        "s3",
        endpoint_url="http://127.0.0.1:1",
        region_name="us-east-1",
        aws_access_key_id="key",
        aws_secret_access_key="secret",
    )
    s3.sign_without_content(client)
    sent: list[Any] = []

    def keep(request: Any, **_: Any) -> None:
        sent.append(request)
        raise KeyboardInterrupt

    client.meta.events.register("before-send.s3", keep)
    part = {"PartNumber": 1, "UploadId": "u"} if operation == "upload_part" else {}
    with pytest.raises(KeyboardInterrupt):
        getattr(client, operation)(Bucket="b", Key="k", Body=b"content", **part)
    headers = {name.lower(): as_text(value) for name, value in sent[0].headers.items()}
    assert headers["x-amz-content-sha256"] == "UNSIGNED-PAYLOAD"
    assert headers["x-amz-checksum-crc32"]
    assert "x-amz-checksum-crc32" in headers["authorization"].partition("SignedHeaders=")[2].partition(",")[0]


def as_text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value


def test_small_pieces_are_put_together() -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for number in range(3000):
            yield bytes([number % 251])
        yield b"x" * 5000
        yield b"y"

    async def whole() -> tuple[int, bytes]:
        body = Body(pieces())
        body._add(b"first")
        async with body.holding:
            before = len(body._pieces)
            return before, await body.block()

    kept, content = asyncio.run(whole())
    assert kept == 1
    assert content == b"first" + bytes(number % 251 for number in range(3000)) + b"x" * 5000 + b"y"


def test_an_object_is_not_kept_for_each_byte() -> None:
    async def none() -> AsyncIterator[bytes]:
        yield b""

    async def kept() -> int:
        body = Body(none())
        for _ in range(10_000):
            body._add(b"z")
        return len(body._pieces)

    assert asyncio.run(kept()) == 1
