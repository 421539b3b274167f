"""Stores the UI's uploads of artifacts where a client's PUT would, with the same names and errors.

MLflow builds the name's folders in the server's own file system first, which fails at names that the storage takes. And
it stores below the run's ids, although the experiment may keep its artifacts at another address.

Replaces: `mlflow.server.handlers.upload_artifact_handler` (the view `serve_upload_artifact`).
Gain: in an experiment with an address of its own, the run lists the upload; with MLflow's handler it does not.
Upstream: mlflow#9752 (closed) found the same in another place.
Test: tests/integration/test_odd_requests.py, test_browser.py.
Goes when: MLflow stores the UI's uploads at the run's address.
"""

import io
import posixpath

from flask import Flask, Response, request
from mlflow.exceptions import MlflowException
from mlflow.server import handlers

from replica_server.artifacts import names
from replica_server.patches.replace import replace

# MLflow's limit, in bytes.
LARGEST = 10 * 2**20


@handlers.catch_mlflow_exception  # type: ignore[untyped-decorator]
def upload() -> Response:
    """Stores a request's body as an artifact of a run."""
    from mlflow.utils.uri import validate_path_is_safe

    run_id, path = request.args.get("run_uuid"), request.args.get("path")
    for name, value in (("run_uuid", run_id), ("path", path)):
        if not value:
            raise MlflowException.invalid_parameter_value(f"Request must specify {name}.")
    path = validate_path_is_safe(path)  # type: ignore[no-untyped-call]
    names.check(path)
    if (request.content_length or 0) > LARGEST or len(request.data) > LARGEST:
        raise MlflowException.invalid_parameter_value("Artifact size is too large. Max size is 10MB.")
    if not request.data:
        raise MlflowException.invalid_parameter_value("Request must specify data.")
    address = handlers._get_tracking_store().get_run(run_id).info.artifact_uri  # type: ignore[no-untyped-call]
    if handlers._is_servable_proxied_run_artifact_root(address):  # type: ignore[no-untyped-call]
        repository = handlers._get_artifact_repo_mlflow_artifacts()  # type: ignore[no-untyped-call]
        path = handlers._get_proxied_run_artifact_destination_path(address, path)  # type: ignore[no-untyped-call]
    else:
        repository = handlers._get_artifact_repository_for_uri(address)
    folder, name = posixpath.split(path)
    repository.log_artifact_from_stream(io.BytesIO(request.data), name, folder or None)
    return Response(mimetype="application/json")


def apply(app: Flask) -> None:
    """Puts this answer in the place of MLflow's."""
    replace(app.view_functions, "serve_upload_artifact", lambda _: upload)
