"""services/mlflow: resumable.py: Google's client against a storage that keeps what it likes of a piece."""

import base64
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from typing import Any

import google_crc32c
import pytest
from google.api_core.exceptions import Forbidden
from google.auth.credentials import AnonymousCredentials
from google.cloud.storage import Client
from mlflow.exceptions import MlflowException
from replica_server.artifacts import resumable

UNIT = 2**18
BODY = bytes(range(251)) * 6000


class Storage(ThreadingHTTPServer):
    """Keeps as many bytes of each piece as the test says, in turn; then all."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.keeps: list[int] = []
        self.kept = bytearray()
        self.refuses = False
        #: Forgets the upload when that much has come: this is answered from then on.
        self.lost: tuple[int, int] | None = None


class Handler(BaseHTTPRequestHandler):
    """Its one object."""

    server: Storage

    def log_message(self, *_: object) -> None:
        """Is silent."""

    def _answer(self, status: int, body: bytes = b"{}", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        """Begins an upload."""
        self.rfile.read(int(self.headers["Content-Length"]))
        if self.server.refuses:
            self._answer(403, b'{"error": {"message": "lacks storage.objects.delete access"}}')
        else:
            self._answer(200, Location=f"http://127.0.0.1:{self.server.server_port}/upload?upload_id=1")

    def do_PUT(self) -> None:
        """Takes a piece."""
        piece = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        kept = self.server.kept
        found = re.fullmatch(r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)", self.headers["Content-Range"])
        assert found
        if found[1]:
            assert int(found[1]) <= len(kept), "a gap"
            kept += piece[len(kept) - int(found[1]) :][: self.server.keeps.pop(0) if self.server.keeps else None]
        if self.server.lost and len(kept) >= self.server.lost[0]:
            self._answer(self.server.lost[1], b"No such upload.")
        elif found[2] == str(len(kept)):
            checksum = base64.b64encode(google_crc32c.Checksum(bytes(kept)).digest()).decode()  # type: ignore[no-untyped-call]
            self._answer(200, f'{{"crc32c": "{checksum}"}}'.encode())
        else:
            self._answer(308, b"", **({"Range": f"bytes=0-{len(kept) - 1}"} if kept else {}))


@pytest.fixture
def storage() -> Iterator[Storage]:
    with Storage() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("replica_server.artifacts.resumable.time.sleep", lambda _: None)


def upload(storage: Storage) -> None:
    options: Any = {"api_endpoint": f"http://127.0.0.1:{storage.server_port}"}
    client = Client(project="test", credentials=AnonymousCredentials(), client_options=options)  # type: ignore[no-untyped-call]
    blob = client.bucket("bucket").blob("name", chunk_size=2 * UNIT)
    resumable.upload(blob, BytesIO(BODY), None, timeout=10)


@pytest.mark.parametrize(
    "keeps",
    [
        pytest.param([], id="all"),
        pytest.param([UNIT], id="half of the first piece"),
        pytest.param([2 * UNIT, UNIT, UNIT, UNIT], id="half of several"),
        pytest.param([2 * UNIT, 2 * UNIT, UNIT], id="a part of the last"),
        pytest.param([0], id="nothing of the first"),
        pytest.param([2 * UNIT, 0, 0], id="nothing of the second, twice"),
    ],
)
def test_upload_goes_on_where_the_storage_has_come_to(storage: Storage, keeps: list[int]) -> None:
    storage.keeps = keeps
    upload(storage)
    assert bytes(storage.kept) == BODY
    assert storage.keeps == []


def test_storage_that_keeps_nothing_is_an_error(storage: Storage) -> None:
    storage.keeps = [2 * UNIT] + [0] * 10
    with pytest.raises(MlflowException, match=f"keeps nothing of gs://bucket/name after byte {2 * UNIT}"):
        upload(storage)


def test_refusal_has_the_storages_words(storage: Storage) -> None:
    """Refusal is the clients own error with the storages words."""
    storage.refuses = True
    with pytest.raises(Forbidden, match=r"lacks storage\.objects\.delete access"):
        upload(storage)


@pytest.mark.parametrize("status", [404, 410])
@pytest.mark.parametrize("after", [2 * UNIT, len(BODY)])
def test_lost_upload_may_be_tried_again(storage: Storage, status: int, after: int) -> None:
    """It is no refusal, and nothing is missing: MLflow's client sends the file once more."""
    storage.lost = after, status
    with pytest.raises(MlflowException, match="has lost the upload to gs://bucket/name") as raised:
        upload(storage)
    assert raised.value.error_code == "TEMPORARILY_UNAVAILABLE"
