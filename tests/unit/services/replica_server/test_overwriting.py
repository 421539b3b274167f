"""services/mlflow: overwriting.py: the setting, and the answer to the same bytes. Storages: tests/integration."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import google_crc32c
import pytest
from mlflow.entities import FileInfo
from mlflow.exceptions import MlflowException
from replica_server import settings
from replica_server.artifacts import repository
from replica_server.artifacts.removal import Removed
from replica_server.commands import serve


class InMemory(repository.StorageRepository):
    """A storage that replaces nothing, and closes what it has read, as boto3 does."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}

    def write_object(self, source: Any, size: int | None, path: str) -> None:  # noqa: ARG002 - as it is called
        """Stores what `source` holds."""
        content = source.read()
        source.close()
        if path in self.objects:
            raise FileExistsError(path)
        self.objects[path] = content

    def fetch_object(self, path: str, target: IO[bytes]) -> None:
        """Writes an object's content to `target`."""
        target.write(self.objects[path])

    def list_folder(self, path: str | None) -> list[FileInfo]:
        """Is not needed here."""
        raise NotImplementedError

    def address(self, path: str) -> str:
        """Returns an object's address."""
        return f"s3://bucket/{path}"

    def size_of(self, path: str) -> int | None:
        """Returns an object's size."""
        return len(self.objects[path]) if path in self.objects else None

    def checksum_of(self, path: str) -> bytes:
        """Returns an object's CRC32C."""
        checksum = google_crc32c.Checksum(self.objects[path])  # type: ignore[no-untyped-call]
        return bytes(checksum.digest())  # type: ignore[no-untyped-call]

    def versions(self) -> Iterator[Any]:
        """Yields the objects."""
        yield from self.objects

    def remove_versions(self) -> Removed:
        """Is not needed here."""
        raise NotImplementedError


@pytest.fixture
def storage() -> InMemory:
    return InMemory()


@pytest.mark.parametrize(("value", "allowed"), [(None, True), ("", True), ("allow", True), ("refuse", False)])
def test_setting(monkeypatch: pytest.MonkeyPatch, value: str | None, allowed: bool) -> None:
    if value is None:
        monkeypatch.delenv(settings.OVERWRITE, raising=False)
    else:
        monkeypatch.setenv(settings.OVERWRITE, value)
    assert settings.current().overwrite is allowed


@pytest.mark.parametrize("value", ["true", "Allow", "no"])
def test_wrong_setting_ends_the_start(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    """Before anything else is looked at."""
    monkeypatch.setenv(settings.OVERWRITE, value)
    with pytest.raises(SystemExit, match=f"error: ARTIFACT_OVERWRITE is {value}: it can be allow or refuse"):
        serve.main()


def test_uploaded_file_is_compared(storage: InMemory, tmp_path: Path) -> None:
    """What the UI uploads is the server's own file, which the storage's client has closed."""
    file = tmp_path / "note.txt"
    for content, refused in ((b"first", False), (b"first", False), (b"other", True), (b"longer one", True)):
        file.write_bytes(content)
        if refused:
            with pytest.raises(
                MlflowException, match=r"s3://bucket/notes/note\.txt exists with other content"
            ) as error:
                storage.log_artifact(str(file), "notes")
            assert error.value.get_http_status_code() == 400  # type: ignore[no-untyped-call]
        else:
            storage.log_artifact(str(file), "notes")
    assert storage.objects == {"notes/note.txt": b"first"}


def test_large_file_is_not_sent_in_vain(storage: InMemory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """S3 would refuse it after its last part only."""
    monkeypatch.setenv(settings.OVERWRITE, "refuse")
    monkeypatch.setattr(repository, "SMALL", 3)
    file = tmp_path / "large"
    file.write_bytes(b"12345")
    storage.log_artifact(str(file))
    monkeypatch.setattr(storage, "write_object", lambda *_: pytest.fail("was sent"))
    storage.log_artifact(str(file))
    file.write_bytes(b"54321")
    with pytest.raises(MlflowException, match="exists with other content"):
        storage.log_artifact(str(file))


def test_object_gone_meanwhile_is_not_taken_for_same(storage: InMemory) -> None:
    with pytest.raises(MlflowException, match="exists with other content"):
        storage.accept_if_same("gone", 0, b"")


def test_server_deletes_nothing(storage: InMemory) -> None:
    storage.write_object(io.BytesIO(b"x"), 1, "kept")
    with pytest.raises(MlflowException, match="docker compose run --rm gc") as refused:
        storage.delete_artifacts("kept")
    assert refused.value.get_http_status_code() == 403  # type: ignore[no-untyped-call]
    assert storage.objects == {"kept": b"x"}
