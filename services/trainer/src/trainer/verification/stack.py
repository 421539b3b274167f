"""The stack that ``trainer verify`` checks, as a client reaches it, and how a check says that it does otherwise."""

from __future__ import annotations

import hashlib
import posixpath
import secrets
import time
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from trainer.util.errors import TrackingError
from trainer.util.text import one_line

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from requests import Response

PROXIED = "mlflow-artifacts"
ARTIFACTS = "/api/2.0/mlflow-artifacts/artifacts"
MIB = 2**20
#: How the replica's server refuses MLflow's routes for workspaces, which no setting turns on: to everyone, or with
#: AUTH=on to all but administrators.
REFUSED_ROUTES = "This server has no workspaces: MLflow's routes for that are refused"
REFUSED_ROLE = ", and this takes admin"


class Difference(Exception):  # noqa: N818 - what it says is a finding, not an error
    """The stack does not do what the replica does; the message says what it does instead."""


class Stricter(Difference):
    """The stack does what MLflow's own server does, and the replica's is stricter: a remark, unless it is that one."""


class Stack:
    """The stack that is checked, and what the checks have made there so far."""

    def __init__(self, uri: str, client: MlflowClient, folder: Path, large: int) -> None:
        from mlflow.utils.credentials import get_default_host_creds

        self.uri = uri
        self.client = client
        self.folder = folder
        self.large = large
        #: The experiment's name and the registered model's.
        self.name = f"trainer-verify-{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{secrets.token_hex(3)}"
        self.experiment_id = ""
        self.run_id = ""
        self.artifact_uri = ""
        self.model_id = ""
        self._credentials = get_default_host_creds(uri)  # type: ignore[no-untyped-call]

    @cached_property
    def has_replica_server(self) -> bool:
        """Whether the server shows that it is the replica's: it alone refuses MLflow's routes in these words."""
        answer = self.ask("GET", "/api/3.0/mlflow/workspaces")
        return answer.status_code == 403 and any(words in answer.text for words in (REFUSED_ROUTES, REFUSED_ROLE))

    def ask(self, method: str, path: str, **kwargs: Any) -> Response:
        """Send a request with the client's login and return the answer, whatever its status.

        Raises:
            TrackingError: There is no answer.
        """
        from mlflow.exceptions import MlflowException
        from mlflow.utils.rest_utils import http_request

        try:
            answer: Response = http_request(  # type: ignore[no-untyped-call]
                self._credentials, path, method, max_retries=0, raise_on_status=False, timeout=60, **kwargs
            )
        except MlflowException as error:
            raise TrackingError(f"{method} {path}: {one_line(error)}") from error
        return answer

    def artifact(self, name: str) -> str:
        """Return the path in the server's artifact API of one of the run's artifacts."""
        return f"{ARTIFACTS}/{quote(posixpath.join(stored(self.artifact_uri), name))}"

    def put(self, name: str, content: bytes) -> Response:
        """Upload an artifact of the run, whether or not it is there."""
        return self.ask("PUT", self.artifact(name), data=content)

    def round_trip(self, name: str, content: bytes) -> None:
        """Upload an artifact with MLflow's client, download it, and compare."""
        place = posixpath.dirname(name)
        source = self.folder / "up" / name
        source.parent.mkdir(parents=True, exist_ok=True)
        source.write_bytes(content)
        self.client.log_artifact(self.run_id, str(source), place or None)
        source.unlink()
        down = self.folder / "down"
        down.mkdir(exist_ok=True)
        back = Path(self.client.download_artifacts(self.run_id, name, str(down)))
        got = back.read_bytes()
        back.unlink()
        if hashlib.sha256(got).digest() != hashlib.sha256(content).digest():
            raise Difference(f"{name}: {len(content):,} bytes went up and {len(got):,} other ones came back")


def stored(location: str) -> str:
    """Return where in the artifact store a proxied location is."""
    return urlsplit(location).path.strip("/")
