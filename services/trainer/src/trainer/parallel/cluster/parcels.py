"""What all tasks share, in parcels that travel once: each table by itself, by the digest of its bytes, and the rest.

A parcel is the length of its head in 8 bytes; the head, which is pickled: what was packed, pickled without its arrays,
and the arrays' lengths; and the arrays' bytes. Whoever unpacks a parcel uses the arrays where they lie in it.
"""

from __future__ import annotations

import hashlib
import io
import pickle
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from trainer.data.dataset import Table

_KIND, _SEALED = "table", "sealed"
#: Arrays begin at multiples of this many bytes.
_ALIGNED = 64
_LENGTH = 8


def digest_of(content: bytes | memoryview) -> str:
    """Return a SHA-256 digest, 64 hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


class Parcel:
    """A parcel that is to be sent: the arrays lie where they were, and must not change until it has been.

    Args:
        pieces: What it is made of, in order.
    """

    def __init__(self, pieces: Sequence[bytes | memoryview]) -> None:
        self._pieces = [memoryview(piece) for piece in pieces]
        #: In bytes.
        self.size = sum(piece.nbytes for piece in self._pieces)
        digest = hashlib.sha256()
        for piece in self._pieces:
            digest.update(piece)
        self.digest = digest.hexdigest()

    def parts(self, size: int) -> Iterator[bytes | memoryview]:
        """Return the content in parts of about so many bytes; what is large is not copied."""
        small = bytearray()
        for piece in self._pieces:
            if len(small) + piece.nbytes <= size // 4:
                small += piece
                continue
            if small:
                yield bytes(small)
                small.clear()
            for offset in range(0, piece.nbytes, size):
                yield piece[offset : offset + size]
        if small:
            yield bytes(small)


def pack(shared: Any) -> tuple[str, list[Parcel]]:
    """Return the digest of the parcel that holds ``shared``, and all parcels.

    Tables are parcels of their own: the next sweep on the same data differs in the rest only.
    """
    parcels: dict[str, Parcel] = {}

    def name_of(parcel: Parcel) -> str:
        parcels[parcel.digest] = parcel
        return parcel.digest

    class Packer(pickle.Pickler):
        def persistent_id(self, value: Any) -> tuple[str, str] | None:
            if isinstance(value, TableOnWorker):
                return (_KIND, value.parcel)
            return (_KIND, name_of(_packed(value, pickle.Pickler))) if isinstance(value, Table) else None

    return name_of(_packed(shared, Packer)), list(parcels.values())


@dataclass(frozen=True)
class TableOnWorker:
    """A table that a worker has read: its parcel's digest, and how many rows it has. It travels as the table itself."""

    held: ClassVar[bool] = True

    parcel: str
    rows: int


@dataclass(frozen=True)
class Sealed:
    """A value that a client only passes on: it stays pickled there, and the tasks that it is handed to get the value.

    So the client need not import what the value is made of, such as NumPy.
    """

    content: bytes

    @classmethod
    def of(cls, value: Any) -> Sealed:
        """Seal a value."""
        return cls(pickle.dumps(value, protocol=pickle.HIGHEST_PROTOCOL))

    def __reduce__(self) -> tuple[Callable[[bytes], Any], tuple[bytes]]:
        return pickle.loads, (self.content,)


def pack_answer(answer: Any, put: Callable[[Parcel], None]) -> bytes:
    """Return a task's answer as it travels: without the tables in it; sealed values stay pickled.

    Args:
        answer: What the task returned.
        put: Called with the parcel of each table.
    """

    class Packer(pickle.Pickler):
        def persistent_id(self, value: Any) -> tuple[Any, ...] | None:
            if isinstance(value, Sealed):
                return (_SEALED, value.content)
            if not isinstance(value, Table):
                return None
            put(parcel := _packed(value, pickle.Pickler))
            return (_KIND, parcel.digest, value.rows)

    content = io.BytesIO()
    Packer(content, pickle.HIGHEST_PROTOCOL).dump(answer)
    return content.getvalue()


def unpack_answer(content: bytes) -> Any:
    """Return a task's answer, with a ``TableOnWorker`` for each table in it."""

    class Unpacker(pickle.Unpickler):
        def persistent_load(self, name: Any) -> TableOnWorker | Sealed:
            kind, *content = name
            return Sealed(*content) if kind == _SEALED else TableOnWorker(*content)

    return Unpacker(io.BytesIO(content)).load()


def _packed(value: Any, pickler: type[pickle.Pickler]) -> Parcel:
    arrays: list[memoryview] = []
    body = io.BytesIO()
    pickler(body, pickle.HIGHEST_PROTOCOL, buffer_callback=lambda array: arrays.append(array.raw())).dump(value)
    head = pickle.dumps((body.getvalue(), [array.nbytes for array in arrays]), protocol=pickle.HIGHEST_PROTOCOL)
    pieces: list[bytes | memoryview] = [len(head).to_bytes(_LENGTH, "big"), head]
    pieces.append(bytes(-(_LENGTH + len(head)) % _ALIGNED))
    for array in arrays:
        pieces += [array, bytes(-array.nbytes % _ALIGNED)]
    return Parcel(pieces)


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
