"""Tables in a bucket: ``s3://BUCKET/KEY`` and ``gs://BUCKET/KEY``, read by pyarrow's file systems.

Credentials, region and endpoint come from where each storage's own tools take them: the AWS variables and profile
files, and ``GOOGLE_APPLICATION_CREDENTIALS``.
"""

from __future__ import annotations

import fnmatch
import io
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cache, cached_property
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, TypeAlias

if TYPE_CHECKING:
    from pyarrow import NativeFile
    from pyarrow.fs import FileInfo, FileSystem

SCHEMES = ("s3", "gs")
#: Bytes asked for at a time: a request takes as long as some megabytes do.
_BUFFER = 8 << 20
#: Seconds until a storage that does not answer is given up.
_CONNECT, _ANSWER = 5.0, 60.0


@dataclass(frozen=True)
class BucketPath:
    """An object, a folder of objects, or a pattern, with what readers use of ``pathlib.Path``."""

    scheme: str
    key: str

    def __str__(self) -> str:
        return f"{self.scheme}://{self.key}"

    def __reduce__(self) -> tuple[type[BucketPath], tuple[str, str]]:
        # What is known of the object stays here: another process asks for itself.
        return BucketPath, (self.scheme, self.key)

    @property
    def name(self) -> str:
        """The last part of the key."""
        return self.key.rpartition("/")[2]

    @property
    def parent(self) -> BucketPath:
        """The folder that it is in."""
        return BucketPath(self.scheme, self.key.rpartition("/")[0])

    def resolve(self) -> BucketPath:
        """Return itself: an address in a bucket is absolute."""
        return self

    def open(self, mode: Literal["rb"]) -> BinaryIO:
        """Return the object as a stream that can be wound; it is only read."""
        del mode
        return io.BufferedReader(_ObjectStream(self._system.open_input_file(self.key)), _BUFFER)

    def stat(self) -> SimpleNamespace:
        """Return the object's size, as ``st_size``."""
        return SimpleNamespace(st_size=self._info.size or 0)

    def exists(self) -> bool:
        """Tell whether there is an object or a folder of this name."""
        return bool(self._info.type)

    def is_file(self) -> bool:
        """Tell whether there is an object of this name."""
        return bool(self._info.is_file)

    def is_dir(self) -> bool:
        """Tell whether there are objects below this name."""
        return self.exists() and not self.is_file()

    def iterdir(self) -> Iterator[BucketPath]:
        """Yield what is in the folder."""
        return iter([one for one, _ in self._listed(recursive=False)])

    def glob(self) -> list[BucketPath]:
        """Return the objects that the pattern finds."""
        plain = self
        while any(sign in plain.key for sign in "*?["):
            plain = plain.parent
        wanted = self.key.split("/")
        return [
            one for one, info in plain._listed(recursive=True) if info.is_file and _fits(one.key.split("/"), wanted)
        ]

    def __truediv__(self, name: str) -> BucketPath:
        return BucketPath(self.scheme, f"{self.key}/{name}")

    @property
    def _system(self) -> FileSystem:
        return _file_system(self.scheme)

    @cached_property
    def _info(self) -> FileInfo:
        return self._system.get_file_info(self.key)

    def _listed(self, *, recursive: bool) -> list[tuple[BucketPath, FileInfo]]:
        from pyarrow.fs import FileSelector

        found = self._system.get_file_info(FileSelector(self.key, recursive=recursive, allow_not_found=True))
        listed = []
        for info in found:
            one = BucketPath(self.scheme, info.path)
            # Asked for once already.
            one.__dict__["_info"] = info
            listed.append((one, info))
        return listed


class _ObjectStream(io.RawIOBase):
    """An object as a stream. What is behind its end is not asked for: Google's storage answers with an error."""

    def __init__(self, file: NativeFile) -> None:
        self._file, self._size, self._place = file, int(file.size()), 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        self._place = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: self._size}[whence]
        return self._place

    def tell(self) -> int:
        return self._place

    def readinto(self, buffer: Any, /) -> int:
        count = min(len(buffer), self._size - self._place)
        if count <= 0:
            return 0
        content = self._file.read_at(count, self._place)
        buffer[: len(content)] = content
        self._place += len(content)
        return len(content)

    def close(self) -> None:
        self._file.close()
        super().close()


#: Where a table, or a part of it, is.
Place: TypeAlias = Path | BucketPath


def table_place(address: Path | BucketPath | str) -> Place:
    """Return what an address names: an address in a bucket, or a path."""
    if isinstance(address, str):
        scheme, separator, key = address.partition("://")
        if separator and scheme.lower() in SCHEMES:
            return BucketPath(scheme.lower(), key.strip("/"))
        return Path(address)
    return address


def explained(error: OSError) -> str | None:
    """Return what a storage's refusal means, and the remedy; None of another error."""
    text = str(error)
    for signs, meaning in _MEANINGS:
        if any(sign in text for sign in signs):
            return meaning
    return None


_MEANINGS: Sequence[tuple[Sequence[str], str]] = (
    (
        ("INVALID_ACCESS_KEY_ID", "SIGNATURE_DOES_NOT_MATCH", "InvalidAccessKeyId", "SignatureDoesNotMatch"),
        "the storage does not know the key, or its secret is wrong; look at the AWS variables or the profile",
    ),
    (
        ("ACCESS_DENIED", "PERMISSION_DENIED", "HTTP status 403", "UNAUTHENTICATED", "HTTP status 401", "Permission"),
        "the storage refuses; name credentials that may read and list it",
    ),
    (("NO_SUCH_BUCKET", "NoSuchBucket"), "there is no such bucket"),
    (
        ("NETWORK_CONNECTION", "Could not connect", "Couldn't connect", "couldn't resolve", "Could not resolve"),
        "the storage cannot be reached; look at its endpoint (AWS_ENDPOINT_URL, or API_ENDPOINT_OVERRIDE)",
    ),
    (("NO_SUCH_KEY", "RESOURCE_NOT_FOUND", "does not exist"), "no such object"),
)


def _fits(key: Sequence[str], wanted: Sequence[str]) -> bool:
    """Tell whether the names in a key fit those of a pattern, of which ** stands for any number of names."""
    if not wanted:
        return not key
    if wanted[0] == "**":
        return _fits(key, wanted[1:]) or (bool(key) and _fits(key[1:], wanted))
    return bool(key) and fnmatch.fnmatchcase(key[0], wanted[0]) and _fits(key[1:], wanted[1:])


@cache
def _file_system(scheme: str) -> FileSystem:
    if scheme == "gs":
        from pyarrow.fs import GcsFileSystem

        endpoint = os.environ.get("API_ENDPOINT_OVERRIDE", "")
        protocol, separator, host = endpoint.rstrip("/").partition("://")
        other = {"endpoint_override": host, "scheme": protocol} if separator else {}
        return GcsFileSystem(retry_time_limit=timedelta(seconds=_ANSWER), **other)
    from pyarrow.fs import AwsStandardS3RetryStrategy, S3FileSystem

    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL", "")
    protocol, separator, host = endpoint.rstrip("/").partition("://")
    other = {"endpoint_override": host, "scheme": protocol} if separator else {}
    if region := os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION"):
        other["region"] = region
    return S3FileSystem(
        connect_timeout=_CONNECT,
        request_timeout=_ANSWER,
        retry_strategy=AwsStandardS3RetryStrategy(max_attempts=3),
        **other,
    )
