"""What all tasks share, in parcels that travel once: each table by itself, by the digest of its bytes, and the rest.

A parcel is the length of its head in 8 bytes; the head, which is pickled: what was packed, pickled without its arrays,
and the arrays' lengths; and the arrays' bytes. Whoever unpacks a parcel uses the arrays where they lie in it.
"""

from __future__ import annotations

import hashlib
import io
import pickle
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from trainer.data.dataset import Table

_KIND = "table"
#: Arrays begin at multiples of this many bytes.
_ALIGNED = 64
_LENGTH = 8


def digest_of(content: bytes | memoryview) -> str:
    """Return a SHA-256 digest, 64 hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def pack(shared: Any) -> tuple[str, dict[str, bytes]]:
    """Return the digest of the parcel that holds ``shared``, and all parcels by their digests.

    Tables are parcels of their own: the next sweep on the same data differs in the rest only.
    """
    parcels: dict[str, bytes] = {}

    def name_of(content: bytes) -> str:
        digest = digest_of(content)
        parcels[digest] = content
        return digest

    class Packer(pickle.Pickler):
        def persistent_id(self, value: Any) -> tuple[str, str] | None:
            return (_KIND, name_of(_packed(value, pickle.Pickler))) if isinstance(value, Table) else None

    return name_of(_packed(shared, Packer)), parcels


def _packed(value: Any, pickler: type[pickle.Pickler]) -> bytes:
    arrays: list[memoryview] = []
    body = io.BytesIO()
    pickler(body, pickle.HIGHEST_PROTOCOL, buffer_callback=lambda array: arrays.append(array.raw())).dump(value)
    head = pickle.dumps((body.getvalue(), [array.nbytes for array in arrays]), protocol=pickle.HIGHEST_PROTOCOL)
    pieces: list[bytes | memoryview] = [len(head).to_bytes(_LENGTH, "big"), head]
    pieces.append(bytes(-(_LENGTH + len(head)) % _ALIGNED))
    for array in arrays:
        pieces += [array, bytes(-array.nbytes % _ALIGNED)]
    return b"".join(pieces)


def _unpacked(content: bytes | memoryview, load: Callable[[Any], Any]) -> Any:
    """Return what was packed.

    Args:
        content: The parcel.
        load: Called with the name of what was left out, as ``persistent_id`` gave it; returns it.
    """
    whole = memoryview(content)
    end = _LENGTH + int.from_bytes(whole[:_LENGTH], "big")
    body, lengths = pickle.loads(whole[_LENGTH:end])  # noqa: S301 - of this cluster's client, by mutual TLS
    arrays = []
    for length in lengths:
        begin = end + -end % _ALIGNED
        end = begin + length
        arrays.append(whole[begin:end])

    class Unpacker(pickle.Unpickler):
        def persistent_load(self, name: Any) -> Any:
            return load(name)

    return Unpacker(io.BytesIO(body), buffers=arrays).load()


class ParcelCache:
    """The unpacked parcels of a worker: the least recently used ones go when there is no room.

    Args:
        room: Bytes of parcels that are kept; those of the task that runs are kept in any case.
        fetch: Returns a parcel's bytes by its digest.
    """

    def __init__(self, room: int, fetch: Callable[[str], bytes | memoryview]) -> None:
        self._room, self._fetch = room, fetch
        self._kept: OrderedDict[str, tuple[int, Any]] = OrderedDict()

    def unpack(self, digest: str) -> Any:
        """Return what the parcel of this digest holds, with its tables."""
        wanted: set[str] = set()
        value = self._get(digest, wanted)
        self._make_room(wanted)
        return value

    def _get(self, digest: str, wanted: set[str]) -> Any:
        wanted.add(digest)
        if digest in self._kept:
            self._kept.move_to_end(digest)
            size, (value, parts) = self._kept[digest]
            # The tables within it were used as well.
            for part in parts & self._kept.keys():
                wanted.add(part)
                self._kept.move_to_end(part)
            return value
        content = self._fetch(digest)
        size, parts = len(content), set[str]()

        def table(name: tuple[str, str]) -> Any:
            parts.add(name[1])
            return self._get(name[1], wanted)

        value = _unpacked(content, table)
        self._kept[digest] = (size, (value, parts))
        return value

    def _make_room(self, wanted: set[str]) -> None:
        total = sum(size for size, _ in self._kept.values())
        for digest in list(self._kept):
            if total <= self._room:
                return
            if digest in wanted or digest not in self._kept:
                continue
            # What was made with it would keep it in memory.
            users = {name for name, (_, (_, parts)) in self._kept.items() if digest in parts} - wanted
            for name in (digest, *users):
                total -= self._kept.pop(name)[0]
