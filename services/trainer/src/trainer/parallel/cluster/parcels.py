"""What all tasks share, in parcels that travel once: each table by itself, by the digest of its bytes, and the rest."""

from __future__ import annotations

import hashlib
import io
import pickle
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from trainer.data.dataset import Table

_KIND = "table"


def digest_of(content: bytes) -> str:
    """Return a SHA-256 digest, 64 hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def pack(shared: Any) -> tuple[str, dict[str, bytes]]:
    """Return the digest of the parcel that holds ``shared``, and all parcels by their digests.

    Tables are parcels of their own: the next sweep on the same data differs in the rest only.
    """
    parcels: dict[str, bytes] = {}

    class Packer(pickle.Pickler):
        def persistent_id(self, value: Any) -> tuple[str, str] | None:
            if not isinstance(value, Table):
                return None
            content = pickle.dumps(value, protocol=pickle.HIGHEST_PROTOCOL)
            digest = digest_of(content)
            parcels[digest] = content
            return _KIND, digest

    stream = io.BytesIO()
    Packer(stream, protocol=pickle.HIGHEST_PROTOCOL).dump(shared)
    digest = digest_of(stream.getvalue())
    parcels[digest] = stream.getvalue()
    return digest, parcels


class ParcelCache:
    """The unpacked parcels of a worker: the least recently used ones go when there is no room.

    Args:
        room: Bytes of parcels that are kept; those of the task that runs are kept in any case.
        fetch: Returns a parcel's bytes by its digest.
    """

    def __init__(self, room: int, fetch: Callable[[str], bytes]) -> None:
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
        cache = self

        class Unpacker(pickle.Unpickler):
            def persistent_load(self, name: Any) -> Any:
                parts.add(name[1])
                return cache._get(name[1], wanted)

        value = Unpacker(io.BytesIO(content)).load()
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
