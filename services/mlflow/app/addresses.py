"""Which storage addresses this server serves: its own storage's.

A client names addresses when it creates an experiment and when it registers a model. Stock MLflow accepts any: what is
written to a folder of the server's container is lost, and another storage's client waits for minutes while it looks for
credentials. Here a foreign address is refused when it is named, and one that is in the database already is refused
before anything connects to it.
"""

import os
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

from mlflow.exceptions import MlflowException

from app import names

PROXIED = "mlflow-artifacts"
# They lead to a run or a model of this server, whose own address is looked at in its turn.
INDIRECT = ("runs", "models")
# The route of proxied artifacts, in an address of MLflow's that names a server.
ROUTE = "/api/2.0/mlflow-artifacts/artifacts/"


def _parsed(uri: str) -> SplitResult | None:
    try:
        return urlsplit(uri) if uri == uri.strip() else None
    except ValueError:
        return None


def _is_folder(path: str) -> bool:
    """Tells whether a path leads downwards only, however often it is percent-encoded."""
    while (decoded := unquote(path)) != path:
        path = decoded
    return not path.strip("/") or not names.fault(path.removeprefix("/").removesuffix("/"))


class Storage:
    """The server's storage.

    Args:
        destination: Its address.
        direct: Whether clients go to it themselves, and so may name it.
    """

    def __init__(self, destination: str, direct: bool) -> None:
        self.destination = destination.rstrip("/")
        self.direct = direct
        self._own = urlsplit(self.destination)

    def is_proxied(self, uri: str) -> bool:
        """Tells whether an address is one that the server translates to its storage's."""
        parts = _parsed(uri)
        return parts is not None and parts.scheme == PROXIED and not parts.netloc and _is_folder(parts.path)

    def holds(self, uri: str) -> bool:
        """Tells whether an address is in the storage itself."""
        parts = _parsed(uri)
        if parts is None or (parts.scheme, parts.netloc) != (self._own.scheme, self._own.netloc):
            return False
        return f"{parts.path}/".startswith(f"{self._own.path}/") and _is_folder(parts.path)

    def translated(self, uri: str) -> str:
        """Returns where in the storage a proxied address leads."""
        return f"{self.destination}/{urlsplit(uri).path.strip('/')}".rstrip("/")

    def _refuse(self, what: str, uri: str) -> None:
        places = f"{PROXIED}:/" + (f" and {self.destination}" if self.direct else "")
        # A user's name and password may stand before the host.
        shown = " ".join(uri.rpartition("@")[2].split())[:200]
        raise MlflowException.invalid_parameter_value(f"{what} {shown} is not in this server's storage, {places}")

    def check_location(self, uri: str, field: str) -> None:
        """Refuses a place for artifacts that a client names; raises MlflowException with status 400."""
        if not self.is_proxied(uri) and not (self.direct and self.holds(uri)):
            self._refuse(f"{field}:", uri)

    def check_source(self, uri: str, field: str) -> None:
        """Refuses where a registered model is said to come from; raises MlflowException with status 400."""
        parts = _parsed(uri)
        if not self.is_proxied(uri) and not self.holds(uri) and (parts is None or parts.scheme not in INDIRECT):
            self._refuse(f"{field}:", uri)

    def check_stored(self, uri: str) -> None:
        """Refuses an address before a client of its storage is made; raises MlflowException with status 400."""
        parts = _parsed(uri)
        if not self.is_proxied(uri) and not self.holds(uri) and (parts is None or parts.scheme not in INDIRECT):
            self._refuse("The artifacts' address", uri)

    def check_root(self, uri: str) -> None:
        """Refuses an address that MLflow takes for proxied, where its path leads elsewhere; status 400."""
        parts = _parsed(uri)
        if parts is None or (parts.scheme != PROXIED and ROUTE not in parts.path) or not _is_folder(parts.path):
            self._refuse("The artifacts' address", uri)


def guard(storage: Storage) -> None:
    """Puts these checks where MLflow takes an address from a client, and where it makes a repository for one."""
    from mlflow.server import handlers as mlflow_handlers
    from mlflow.store.artifact import artifact_repository_registry as mlflow_registry
    from mlflow.utils.mlflow_tags import MLFLOW_ARTIFACT_LOCATION, MLFLOW_TRACE_ARCHIVE_LOCATION

    handlers: Any = mlflow_handlers
    registry: Any = mlflow_registry
    for module, name in (
        (handlers, "_validate_storage_location_uri"),
        (handlers, "_validate_artifact_uri_scheme"),
        (handlers, "_get_proxied_run_artifact_destination_path"),
        (handlers, "_HANDLER_BLOCKED_TRACE_TAGS"),
        (handlers, "_PROMPT_SOURCE_PLACEHOLDERS"),
        (registry, "enforce_server_artifact_uri_host_policy"),
    ):
        if not hasattr(module, name):
            raise RuntimeError(f"{module.__name__}.{name} is gone: where does MLflow check addresses now?")

    location_of, path_of = handlers._validate_storage_location_uri, handlers._get_proxied_run_artifact_destination_path

    def check_location(value: str, field_name: str) -> str:
        storage.check_location(value, field_name)
        return str(location_of(value, field_name))

    def check_source(uri: str, field_name: str) -> None:
        # A prompt has no files, and says so by a placeholder.
        if uri not in handlers._PROMPT_SOURCE_PLACEHOLDERS:
            storage.check_source(uri, field_name)

    def check_root(proxied_artifact_root: str, relative_path: str | None = None) -> Any:
        storage.check_root(proxied_artifact_root)
        return path_of(proxied_artifact_root, relative_path)

    tracking: Any = handlers._get_tracking_store()
    start = tracking.start_trace

    def start_trace(trace_info: Any) -> Any:
        for tag in (MLFLOW_ARTIFACT_LOCATION, MLFLOW_TRACE_ARCHIVE_LOCATION):
            if tag in trace_info.tags:
                storage.check_stored(trace_info.tags[tag])
        return start(trace_info)

    def repository(artifact_uri: str, **_: Any) -> Any:
        return registry.get_artifact_repository(storage.translated(artifact_uri))

    handlers._validate_storage_location_uri = check_location
    handlers._validate_artifact_uri_scheme = check_source
    handlers._get_proxied_run_artifact_destination_path = check_root
    tracking.start_trace = start_trace
    # Where a trace's attachments are: the server sets it, and MLflow's own client refuses to.
    handlers._HANDLER_BLOCKED_TRACE_TAGS |= {MLFLOW_ARTIFACT_LOCATION}
    registry.enforce_server_artifact_uri_host_policy = storage.check_stored
    # The server's own look at a proxied address, behind a run's or a model's: stock MLflow would ask a server for it.
    registry._artifact_repository_registry.register(PROXIED, repository)


def from_environment(destination: str) -> Storage:
    """Returns the server's storage, in the mode that ARTIFACT_MODE says."""
    return Storage(destination, os.environ.get("ARTIFACT_MODE") == "direct")
