"""Copies a model version, with the run that made it, from one tracking server to another.

MLflow copies a version within one registry only. Here the run is made anew on the other server (parameters, metrics
with their history, tags, data sets, artifacts), then the logged model, and last the version, so that a copy that was
interrupted is no version yet. What was made carries the ids of what it was made from: by them the same command finds
it, and finishes it or leaves it alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from trainer.tracking.active_run import ActiveRun
from trainer.tracking.client import Destination, Tracking
from trainer.tracking.errors import already_exists, is_missing, tracking_error
from trainer.tracking.settings import as_default
from trainer.tracking.tags import PARENT_TAG
from trainer.tracking.uris import without_credentials
from trainer.transfer.artifact_files import copy_files, open_repository
from trainer.transfer.copy_marks import (
    COMPLETE,
    COPYING,
    MODEL_TAG,
    PARENT_RUN_TAG,
    STATE_TAG,
    VERSION_TAG,
    being_copied,
    copied_tags,
    replace_ids,
)
from trainer.transfer.push_source import RUN_TAG, SOURCE_TAG, PushSource, model_id_of
from trainer.transfer.run_data import copy_run_data
from trainer.util.errors import InputError, TrackingError
from trainer.util.text import one_line

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel, Run
    from mlflow.entities.model_registry import ModelVersion


@dataclass
class Pushed:
    """What came of it: the version on the other server.

    ``created`` is whether it is new; ``files`` and ``bytes`` count what was compared.
    """

    name: str
    version: str
    run_id: str
    model_id: str
    created: bool
    url: str | None = None
    alias: str | None = None
    files: int = 0
    bytes: int = 0


def push(
    source: PushSource,
    destination: Destination,
    alias: str | None = None,
    say: Callable[[str], None] = lambda _text: None,
) -> Pushed:
    """Copy a version to another server, unless it is there.

    Args:
        source: What to copy.
        destination: The other server, and the experiment there.
        alias: An alias that is to lead to the copy.
        say: Called with what is being done.

    Raises:
        InputError: The destination is the source.
        TrackingError: A server cannot be reached, refuses or fails, or what arrived is not what was sent.
    """
    from mlflow.exceptions import MlflowException

    try:
        return _Push(source, destination.open(), say).run(alias)
    except MlflowException as error:
        raise tracking_error(error) from error
    except OSError as error:
        raise TrackingError(f"cannot copy artifacts: {error.strerror or one_line(error)}") from error


@dataclass
class _Push:
    source: PushSource
    tracking: Tracking
    say: Callable[[str], None]
    files: int = field(default=0, init=False)
    bytes: int = field(default=0, init=False)

    @property
    def client(self) -> MlflowClient:
        return self.tracking.client

    def run(self, alias: str | None) -> Pushed:
        self._refuse_the_source_itself()
        version = self._find_version()
        created = version is None
        if version is None:
            run_id, model_id = self._copy()
            version = self._register(run_id, model_id)
        if alias is not None:
            self.client.set_registered_model_alias(version.name, alias, version.version)
        run_id = str(version.run_id)
        return Pushed(
            name=version.name,
            version=str(version.version),
            run_id=run_id,
            model_id=model_id_of(version) or "",
            created=created,
            url=self.tracking.destination.run_url(run_id),
            alias=alias,
            files=self.files,
            bytes=self.bytes,
        )

    def _refuse_the_source_itself(self) -> None:
        from mlflow.exceptions import MlflowException

        try:
            self.client.get_run(self.source.run.info.run_id)
        except MlflowException as error:
            if is_missing(error):
                return
            raise
        raise InputError(
            f"{without_credentials(self.tracking.destination.uri)} holds the run itself: --to and --from are one"
            " server. Within one, MlflowClient.copy_model_version copies"
        )

    # The run ----------------------------------------------------------------------------------------------------------

    def _copy(self) -> tuple[str, str]:
        """Copy the run and the model, or what an interrupted attempt has left of them; return their ids there."""
        run = self._find_run()
        if run is not None:
            self.say(f"going on with run {run.info.run_id}, which was copied before")
        else:
            run = self.tracking.create_once(self._create_run, self._find_run)
        run_id = run.info.run_id
        complete = run.data.tags.get(STATE_TAG) == COMPLETE
        model = self._find_model()
        if complete and model is not None and model.status == "READY":
            return run_id, model.model_id
        with being_copied(self.client, run_id, self.source.run.info):
            if model is None:
                model = self.tracking.create_once(lambda: self._create_model(run_id), self._find_model)
            if not complete:
                models = {model.model_id: self.source.model} if self.source.model is not None else {}
                copy_run_data(self.source.client, self.source.run, models, self.tracking, run_id)
                self.say("copying the run's artifacts")
                self._copy_files(self.source.run.info.artifact_uri, run.info.artifact_uri)
            if model.status != "READY":
                self.say("copying the model")
                self._copy_model(run_id, model)
        return run_id, model.model_id

    def _create_run(self) -> Run:
        info, tags = self.source.run.info, self.source.run.data.tags
        copied = {**copied_tags(tags), **self.source.tags, STATE_TAG: COPYING}
        if PARENT_TAG in tags:
            # The parent stays behind: as a parent it would lead nowhere.
            copied[PARENT_RUN_TAG] = tags[PARENT_TAG]
        return self.client.create_run(
            self.tracking.destination.experiment_id, start_time=info.start_time, tags=copied, run_name=info.run_name
        )

    def _find_run(self) -> Run | None:
        filters = f"tags.`{RUN_TAG}` = '{self.source.run.info.run_id}'"
        found = self.client.search_runs([self.tracking.destination.experiment_id], filters, max_results=1)
        return found[0] if found else None

    # The model --------------------------------------------------------------------------------------------------------

    def _create_model(self, run_id: str) -> LoggedModel:
        model = self.source.model
        return self.client.create_logged_model(
            self.tracking.destination.experiment_id,
            name=model.name if model is not None else "model",
            source_run_id=run_id,
            tags={
                **copied_tags(model.tags if model is not None else {}),
                **self.source.tags,
                MODEL_TAG: self.source.model_id,
            },
            params=model.params if model is not None else None,
            model_type=model.model_type if model is not None else None,
        )

    def _find_model(self) -> LoggedModel | None:
        filters = f"tags.`{MODEL_TAG}` = '{self.source.model_id}'"
        found = self.client.search_logged_models([self.tracking.destination.experiment_id], filters, max_results=1)
        return found[0] if found else None

    def _copy_model(self, run_id: str, model: LoggedModel) -> None:
        from mlflow.entities import LoggedModelOutput

        ids = {"run_id": run_id, "model_id": model.model_id, "artifact_path": model.artifact_location}
        self._copy_files(self.source.files, model.artifact_location, {"MLmodel": lambda file: replace_ids(file, ids)})
        outputs = self.source.run.outputs.model_outputs if self.source.run.outputs is not None else []
        step = next((output.step for output in outputs if output.model_id == self.source.model_id), 0)
        active = ActiveRun(self.tracking, run_id, "")
        if not active.has_output(model.model_id):
            self.tracking.create_once(
                lambda: (self.client.log_outputs(run_id, [LoggedModelOutput(model.model_id, step=step)]), True)[1],
                lambda: active.has_output(model.model_id) or None,
            )
        self.client.finalize_logged_model(model.model_id, "READY")

    # The version ------------------------------------------------------------------------------------------------------

    def _find_version(self) -> ModelVersion | None:
        name = self.source.version.name
        quote = '"' if "'" in name else "'"
        # Not by the server's address: it may have several names.
        wanted = {name: value for name, value in self._ids().items() if name != SOURCE_TAG}.items()
        filters = f"name = {quote}{name}{quote} AND tags.`{MODEL_TAG}` = {quote}{self.source.model_id}{quote}"
        for version in self.client.search_model_versions(filters):
            if wanted <= version.tags.items():
                return version
        return None

    def _register(self, run_id: str, model_id: str) -> ModelVersion:
        from mlflow.exceptions import MlflowException

        version = self.source.version
        try:
            model = self.source.client.get_registered_model(version.name)
            self.client.create_registered_model(version.name, tags=model.tags, description=model.description)
        except MlflowException as error:
            if not already_exists(error):
                raise
        # A store without a server looks the model up by the default.
        with as_default(self.tracking.destination.uri):
            return self.tracking.create_once(
                lambda: self.client.create_model_version(
                    version.name,
                    f"models:/{model_id}",
                    run_id=run_id,
                    model_id=model_id,
                    tags={**copied_tags(version.tags), **self._ids()},
                    description=version.description,
                ),
                self._find_version,
            )

    def _ids(self) -> dict[str, str]:
        return {**self.source.tags, MODEL_TAG: self.source.model_id, VERSION_TAG: self.source.name}

    # Files ------------------------------------------------------------------------------------------------------------

    def _copy_files(
        self, source_uri: str, target_uri: str, changed: Mapping[str, Callable[[Path], None]] | None = None
    ) -> None:
        source = open_repository(source_uri, self.source.uri)
        target = open_repository(target_uri, self.tracking.destination.uri)
        for size in copy_files(source, target, changed or {}):
            self.files += 1
            self.bytes += size
