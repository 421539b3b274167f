"""The object's name in the body of an upload, read without reading the rest of it."""

import json
import re
from collections.abc import AsyncIterator

from gateway.errors import invalid

# The part that describes the object comes first and is small; more than this before its end is not an upload.
METADATA_LIMIT = 256 * 1024


def first_part(head: bytes, boundary: bytes) -> bytes | None:
    """Returns the content of the first part of a multipart body; None when it has not come in full yet."""
    opening = b"--" + boundary
    start = head.find(b"\r\n\r\n", head.find(opening))
    end = head.find(b"\r\n" + opening, start + 2)
    return head[start + 4 : end] if start >= 0 and end >= 0 else None


def boundary_of(content_type: str) -> bytes:
    """Returns the boundary of a multipart body; raises StorageError without one."""
    match = re.search(r'boundary="?([^";\s]+)"?', content_type)
    if not match:
        raise invalid("Multipart upload without a boundary.")
    return match[1].encode()


def name_in(document: bytes) -> str:
    """Returns the name in an object's JSON description; empty where it names none."""
    try:
        return str(json.loads(document or b"{}").get("name", ""))
    except (ValueError, AttributeError):
        raise invalid("Parse Error") from None


async def read_name(chunks: AsyncIterator[bytes], content_type: str, *, multipart: bool) -> tuple[str, bytes]:
    """Reads as much of an upload's body as the name needs.

    Args:
        chunks: The body.
        content_type: The request's header.
        multipart: The description is the body's first part; else it is the whole body.

    Returns:
        The name and what has been read, which must be passed on before the rest.
    """
    head = bytearray()
    boundary = boundary_of(content_type) if multipart else b""
    async for chunk in chunks:
        head += chunk
        if multipart and (document := first_part(bytes(head), boundary)) is not None:
            return name_in(document), bytes(head)
        if len(head) > METADATA_LIMIT and (not multipart or head.find(b"\r\n--" + boundary, 1) < 0):
            raise invalid("The description of the object is too long.")
    if multipart:
        raise invalid("Malformed multipart body.")
    return name_in(bytes(head)), bytes(head)
