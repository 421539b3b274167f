"""The version that is to be copied, and what belongs to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from trainer.tracking.connection import wait_for_server
from trainer.tracking.errors import is_missing, tracking_error
from trainer.tracking.model_uri import ModelUri
from trainer.tracking.uris import absolute, without_credentials
from trainer.util.errors import InputError
from trainer.util.text import one_line

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel, Run
    from mlflow.entities.model_registry import ModelVersion

#: Where a copy came from: the tracking server, and there the run, its parent, the logged model and the version.
SOURCE_TAG = "trainer.push.source"
RUN_TAG = "trainer.push.run_id"


@dataclass(frozen=True)
class PushSource:
    """A version that is to be copied, and what belongs to it."""

    uri: str
    client: MlflowClient
    version: ModelVersion
    files: str
    run: Run
    experiment: str
    model: LoggedModel | None

    @property
    def name(self) -> str:
        """The registered model's name and the version, as ``name/3``."""
        return f"{self.version.name}/{self.version.version}"

    @property
    def model_id(self) -> str:
        """What tells the model from others: the logged model's id; the version's name where it is older than those."""
        return self.model.model_id if self.model is not None else self.name

    @property
    def tags(self) -> dict[str, str]:
        """The tags of everything that is made from it."""
        return {SOURCE_TAG: without_credentials(self.uri), RUN_TAG: self.run.info.run_id}


def read_source(uri: str, model_uri: str, wait: float) -> PushSource:
    """Look a model version up.

    Args:
        uri: The tracking URI.
        model_uri: ``models:/name/3`` or ``models:/name@alias``.
        wait: How many seconds to wait for a server that cannot be reached.

    Raises:
        InputError: There is no such version, or it belongs to no run, or its run has not ended.
        TrackingError: The server cannot be reached, refuses, or fails.
    """
    from mlflow.exceptions import MlflowException

    named = ModelUri.parse(model_uri)
    if named is None or named.name is None or named.stage is not None:
        raise InputError(f"{model_uri!r} names no model version; write models:/NAME/3 or models:/NAME@ALIAS")
    name = named.name
    uri = absolute(uri)
    client, shown = wait_for_server(uri, wait), without_credentials(uri)
    try:
        if named.alias is not None:
            version = client.get_model_version_by_alias(name, named.alias)
        else:
            version = client.get_model_version(name, str(named.version))
        if not version.run_id:
            raise InputError(f"{model_uri} at {shown} belongs to no run; only versions of runs can be copied")
        run = client.get_run(version.run_id)
        files = client.get_model_version_download_uri(name, version.version)
        model = _logged_model(client, version, run, files)
        experiment = client.get_experiment(run.info.experiment_id).name
    except MlflowException as error:
        if is_missing(error):
            raise InputError(f"{shown} has no {model_uri}: {one_line(error, 200)}") from error
        raise tracking_error(error) from error
    if run.info.status in ("RUNNING", "SCHEDULED"):
        raise InputError(f"run {run.info.run_id} of {model_uri} has not ended yet; copy it when it has")
    return PushSource(uri, client, version, files, run, experiment, model)


def model_id_of(version: ModelVersion) -> str | None:
    """Return the id of the logged model that a version was registered as: MLflow's database keeps it in the source."""
    named = ModelUri.parse(version.source or "")
    return (named.model_id if named is not None else None) or version.model_id or None


def _logged_model(client: MlflowClient, version: ModelVersion, run: Run, files: str) -> LoggedModel | None:
    """Return a version's logged model; None for one that MLflow 2 registered, or whose logged model is deleted."""
    from mlflow.exceptions import MlflowException

    if (model_id := model_id_of(version)) is not None:
        try:
            return client.get_logged_model(model_id)
        except MlflowException as error:
            if not is_missing(error):
                raise
    of_run = client.search_logged_models([run.info.experiment_id], f"source_run_id = '{run.info.run_id}'")
    return next((one for one in of_run if one.artifact_location.rstrip("/") == files.rstrip("/")), None)
