"""Refuses storage addresses outside of this stack's storage.

Clients name them, and others are in the database already; they are refused before a repository is made.

Replaces: in `mlflow.server.handlers`: `_validate_storage_location_uri`, `_validate_artifact_uri_scheme`,
    `_get_proxied_run_artifact_destination_path`, `_HANDLER_BLOCKED_TRACE_TAGS`;
    in `mlflow.store.artifact.artifact_repository_registry`: `enforce_server_artifact_uri_host_policy`;
    `SqlAlchemyStore.start_trace` of the tracking store.
Gain: a 400 at once, where MLflow answers 200: then uploads are lost with the container, or each look waits for a
    foreign storage's credentials.
Upstream: mlflow#25891 refuses foreign hosts, and no other storage or folder.
Test: test_addresses.py; tests/integration/test_odd_requests.py.
Goes when: MLflow can be told which addresses it serves, and checks them at each of these places.
"""

from typing import Any

from mlflow.server import handlers as mlflow_handlers
from mlflow.store.artifact import artifact_repository_registry as registry
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
from mlflow.utils.mlflow_tags import MLFLOW_ARTIFACT_LOCATION, MLFLOW_TRACE_ARCHIVE_LOCATION

from replica_server.artifacts.addresses import Storage
from replica_server.patches.replace import replace, require

handlers: Any = mlflow_handlers


def apply(storage: Storage) -> None:
    """Puts the checks where MLflow takes an address from a client, and where it makes a repository for one."""
    # A prompt has no files, and says so by a placeholder.
    require(handlers, "_PROMPT_SOURCE_PLACEHOLDERS")
    placeholders = handlers._PROMPT_SOURCE_PLACEHOLDERS

    def location_checked(validate: Any) -> Any:
        def check_location(value: str, field_name: str) -> str:
            storage.check_location(value, field_name)
            return str(validate(value, field_name))

        return check_location

    def check_source(uri: str, field_name: str) -> None:
        if uri not in placeholders:
            storage.check_source(uri, field_name)

    def root_checked(path_of: Any) -> Any:
        def check_root(proxied_artifact_root: str, relative_path: str | None = None) -> Any:
            storage.check_root(proxied_artifact_root)
            return path_of(proxied_artifact_root, relative_path)

        return check_root

    def trace_checked(start: Any) -> Any:
        def start_trace(self: Any, trace_info: Any) -> Any:
            for tag in (MLFLOW_ARTIFACT_LOCATION, MLFLOW_TRACE_ARCHIVE_LOCATION):
                if tag in trace_info.tags:
                    storage.check_stored(trace_info.tags[tag])
            return start(self, trace_info)

        return start_trace

    replace(handlers, "_validate_storage_location_uri", location_checked)
    replace(handlers, "_validate_artifact_uri_scheme", lambda _: check_source)
    replace(handlers, "_get_proxied_run_artifact_destination_path", root_checked)
    # Where a trace's attachments are: the server sets it, and MLflow's own client refuses to.
    replace(handlers, "_HANDLER_BLOCKED_TRACE_TAGS", lambda blocked: blocked | {MLFLOW_ARTIFACT_LOCATION})
    # In the class, as the checks of people/ are: around a store's own method, those would not be asked.
    replace(SqlAlchemyStore, "start_trace", trace_checked)
    replace(registry, "enforce_server_artifact_uri_host_policy", lambda _: storage.check_stored)
