"""What the repositories of both storages have in common: artifacts pass through as they come, whatever their size.

MLflow's server takes an upload in as a stream where its repository can (StreamUploadMixin). It offers clients
addresses of the storage, signed, where the repository has those mixins: these have none, because a client outside of
the stack could not reach such an address. MLflow's own repository for the same storage is asked for what it does well
(composition).

A name is checked before the storage is asked. What is missing is a 404: MLflow makes a 500 of a storage's answer that
there is no such object, and its clients repeat that for minutes; they do so at each load of `runs:/<run>/<model>`.
"""

import io
import os
import posixpath
import shutil
import tempfile
from abc import abstractmethod
from collections.abc import AsyncIterable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import IO, Any, BinaryIO
from urllib.parse import urlsplit

from mlflow.entities import FileInfo
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import RESOURCE_DOES_NOT_EXIST
from mlflow.store.artifact.artifact_repo import ArtifactRepository, StreamUploadMixin

from replica_server import limits, places, settings
from replica_server.artifacts import names, overwriting, refused_deletion
from replica_server.artifacts.incoming import Incoming, receive
from replica_server.artifacts.removal import Removed
from replica_server.artifacts.storage_errors import unavailable
from replica_server.places import StalledError

# Up to this size an artifact is one request to the storage; a larger one goes in pieces.
SMALL = 8 * 2**20


class StorageRepository(StreamUploadMixin, ArtifactRepository):
    """A storage's repository; each `path` is relative to the repository's address."""

    @abstractmethod
    def write_object(self, source: Any, size: int | None, path: str) -> None:
        """Stores what `source` holds: so many bytes, or too many to be one request (None).

        Raises:
            FileExistsError: There is an object of that name, and the storage does not replace it.
        """

    @abstractmethod
    def fetch_object(self, path: str, target: IO[bytes]) -> None:
        """Writes an object's content to `target`; raises FileNotFoundError when there is none."""

    @abstractmethod
    def list_folder(self, path: str | None) -> list[FileInfo]:
        """Lists what is in a folder; None: the repository's own."""

    @abstractmethod
    def address(self, path: str) -> str:
        """Returns an object's address, with scheme and bucket."""

    @abstractmethod
    def size_of(self, path: str) -> int | None:
        """Returns an object's size in bytes; None when there is none."""

    @abstractmethod
    def checksum_of(self, path: str) -> bytes:
        """Returns the CRC32C of an object's content; raises FileNotFoundError when there is none."""

    @abstractmethod
    def versions(self) -> Iterator[Any]:
        """Yields all versions of all objects below the repository's address, as the storage describes them."""

    @abstractmethod
    def remove_versions(self) -> Removed:
        """Removes all versions of all objects below the repository's address; for garbage collection alone.

        Raises:
            RemovalError: The storage has refused one.
        """

    def _check(self, path: str) -> None:
        names.check(path)
        names.check(posixpath.join(urlsplit(self.artifact_uri).path.strip("/"), path))

    def list_artifacts(self, path: str | None = None) -> list[FileInfo]:
        """Lists what is in a folder, whose name may end in a slash."""
        path = (path or "").removesuffix("/")
        if path:
            self._check(path)
        return self.list_folder(path or None)

    def read_object(self, path: str, target: IO[bytes]) -> None:
        """Writes an object's content to `target`; raises FileNotFoundError when there is none."""
        self._check(path)
        self.fetch_object(path, target)

    def download_artifacts(self, artifact_path: str, dst_path: str | None = None) -> str:
        """Downloads a file into a folder (None: a new one), and returns its path; a folder is refused at once."""
        file = Path(dst_path or tempfile.mkdtemp()) / posixpath.basename(artifact_path)
        self._check(artifact_path)
        try:
            self._download_file(artifact_path, str(file))
        except FileNotFoundError:
            if self.list_artifacts(artifact_path):
                raise MlflowException.invalid_parameter_value(
                    f"Artifact path refers to a directory, not a file: '{artifact_path}'"
                ) from None
            raise MlflowException(f"There is no artifact {artifact_path}", error_code=RESOURCE_DOES_NOT_EXIST) from None
        return str(file)

    def _download_file(self, remote_file_path: str, local_path: str) -> None:
        """Downloads a file for the server itself; MLflow's own would hold 100 MiB of it at a time."""
        with Path(local_path).open("wb") as file:
            self.read_object(remote_file_path, file)

    def delete_artifacts(self, artifact_path: str | None = None) -> None:  # noqa: ARG002 - MLflow's name
        """Refuses: the server deletes nothing, also where the account with which it replaces objects could."""
        raise refused_deletion.refusal()

    def accept_if_same(self, path: str, size: int, checksum: bytes) -> None:
        """Takes an upload that the storage has refused for done when the object holds the same bytes.

        Raises:
            MlflowException: It holds others: the answer to the client.
        """
        with suppress(FileNotFoundError):
            if self.size_of(path) == size and self.checksum_of(path) == checksum:
                return
        raise overwriting.refusal(self.address(path))

    def store(self, path: str, incoming: Incoming) -> None:
        """Stores a request's body. Whether an object of that name is replaced is a setting (overwriting.py)."""
        self._check(path)
        try:
            self._store(path, incoming)
        except FileExistsError:
            incoming.drain()
            self.accept_if_same(path, incoming.received, incoming.checksum.digest())  # type: ignore[no-untyped-call]

    def _store(self, path: str, incoming: Incoming) -> None:
        head = incoming.read(SMALL + 1)
        if len(head) <= SMALL:
            self.write_object(io.BytesIO(head), len(head), path)
            return
        incoming.seek(0)
        del head
        self._write_large(incoming, path)

    def _write_large(self, source: Any, path: str) -> None:
        # The storage's own refusal may come after the last piece only.
        if not settings.current().overwrite and self.size_of(path) is not None:
            raise FileExistsError(path)
        self.write_object(source, None, path)

    def log_artifact(self, local_file: str, artifact_path: str | None = None) -> None:
        """Stores a file of the server's own: what the UI has uploaded, or a trace's spans."""
        from google_crc32c import Checksum

        file = Path(local_file)
        path = posixpath.join(artifact_path or "", file.name)
        size = file.stat().st_size
        try:
            with file.open("rb") as source:
                if size <= SMALL:
                    self.write_object(source, size, path)
                else:
                    self._write_large(source, path)
        except FileExistsError:
            checksum = Checksum()  # type: ignore[no-untyped-call]
            # Opened again: the storage's client may have closed it.
            with file.open("rb") as source:
                while block := source.read(limits.BLOCK):
                    checksum.update(block)  # type: ignore[no-untyped-call]
            self.accept_if_same(path, size, checksum.digest())  # type: ignore[no-untyped-call]

    def log_artifacts(self, local_dir: str, artifact_path: str | None = None) -> None:
        """Stores a folder's files."""
        for folder, _, files in os.walk(local_dir):
            below = posixpath.normpath(Path(folder).relative_to(local_dir).as_posix())
            place = posixpath.normpath(posixpath.join(artifact_path or "", below))
            for file in files:
                self.log_artifact(str(Path(folder) / file), "" if place == "." else place)

    async def log_artifact_from_async_stream(
        self, chunks: AsyncIterable[bytes], artifact_file_name: str, artifact_path: str | None = None
    ) -> None:
        """Stores a request's body while it arrives."""
        path = posixpath.join(artifact_path or "", artifact_file_name)
        try:
            await receive(chunks, partial(self.store, path))
        except StalledError:
            raise unavailable(places.ended(f"The upload of {artifact_file_name} sent nothing")) from None

    def log_artifact_from_stream(
        self, stream: BinaryIO, artifact_file_name: str, artifact_path: str | None = None
    ) -> None:
        """Stores a stream; MLflow's WSGI server would ask for it."""
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / artifact_file_name
            with file.open("wb") as copy:
                shutil.copyfileobj(stream, copy)
            self.log_artifact(str(file), artifact_path)
