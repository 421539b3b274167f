"""Copies one run with its artifacts and logged models, or finishes a copy that was interrupted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from trainer.tracking.active_run import ActiveRun
from trainer.tracking.client import Tracking
from trainer.tracking.tags import PARENT_TAG
from trainer.tracking.uris import without_credentials
from trainer.transfer.artifact_files import copy_files, open_repository
from trainer.transfer.copy_marks import (
    COMPLETE,
    COPYING,
    MODEL_TAG,
    PARENT_RUN_TAG,
    STATE_TAG,
    being_copied,
    copied_tags,
    replace_ids,
)
from trainer.transfer.push_source import RUN_TAG, SOURCE_TAG
from trainer.transfer.run_data import copy_run_data
from trainer.transfer.stores import Store

if TYPE_CHECKING:
    from mlflow.entities import LoggedModel, Run


@dataclass
class RunCopy:
    """A run's copy on another server; ``run_ids`` are the copies of the runs before it, among them its parent's."""

    source: Store
    tracking: Tracking
    run: Run
    models: list[LoggedModel]
    run_ids: Mapping[str, str]
    run_id: str = field(default="", init=False)
    model_ids: dict[str, str] = field(default_factory=dict, init=False)
    left_out: list[str] = field(default_factory=list, init=False)
    files: int = field(default=0, init=False)
    bytes: int = field(default=0, init=False)

    def bring(self) -> bool:
        """Make the copy whole; return whether there was anything to do.

        Raises:
            MlflowException: A server fails.
            TrackingError: What arrived is not what was sent.
        """
        copy = self._find() or self.tracking.create_once(self._create, self._find)
        self.run_id = copy.info.run_id
        if copy.data.tags.get(STATE_TAG) == COMPLETE:
            for model in self.models:
                if (found := self._find_model(model)) is not None:
                    self.model_ids[model.model_id] = found.model_id
            return False
        with being_copied(self.tracking.client, self.run_id, self.run.info):
            copies = {model.model_id: self._model(model) for model in self.models}
            self.model_ids = {own: copy.model_id for own, copy in copies.items()}
            by_copy = {self.model_ids[model.model_id]: model for model in self.models}
            copy_run_data(self.source.client, self.run, by_copy, self.tracking, self.run_id)
            self._copy_files(f"run {self.run.info.run_id}", self.run.info.artifact_uri, copy.info.artifact_uri)
            for model in self.models:
                if copies[model.model_id].status != "READY":
                    self._copy_model(model, copies[model.model_id])
        return True

    def _find(self) -> Run | None:
        filters = f"tags.`{RUN_TAG}` = '{self.run.info.run_id}'"
        found = self.tracking.client.search_runs([self.tracking.destination.experiment_id], filters, max_results=1)
        return found[0] if found else None

    def _create(self) -> Run:
        info, tags = self.run.info, self.run.data.tags
        copied = {**copied_tags(tags), **self._source_tags(), STATE_TAG: COPYING}
        if (parent := tags.get(PARENT_TAG)) is not None:
            copied |= {PARENT_TAG: self.run_ids[parent]} if parent in self.run_ids else {PARENT_RUN_TAG: parent}
        place = self.tracking.destination.experiment_id
        return self.tracking.client.create_run(place, start_time=info.start_time, tags=copied, run_name=info.run_name)

    def _source_tags(self) -> dict[str, str]:
        return {SOURCE_TAG: without_credentials(self.source.name), RUN_TAG: self.run.info.run_id}

    def _find_model(self, model: LoggedModel) -> LoggedModel | None:
        filters = f"tags.`{MODEL_TAG}` = '{model.model_id}'"
        place = [self.tracking.destination.experiment_id]
        found = self.tracking.client.search_logged_models(place, filters, max_results=1)
        return found[0] if found else None

    def _model(self, model: LoggedModel) -> LoggedModel:
        found = self._find_model(model)
        return found or self.tracking.create_once(
            lambda: self.tracking.client.create_logged_model(
                self.tracking.destination.experiment_id,
                name=model.name,
                source_run_id=self.run_id,
                tags={**copied_tags(model.tags), **self._source_tags(), MODEL_TAG: model.model_id},
                params=model.params,
                model_type=model.model_type,
            ),
            lambda: self._find_model(model),
        )

    def _copy_model(self, model: LoggedModel, copy: LoggedModel) -> None:
        from mlflow.entities import LoggedModelOutput

        ids = {"run_id": self.run_id, "model_id": copy.model_id, "artifact_path": copy.artifact_location}
        self._copy_files(f"logged model {model.model_id}", model.artifact_location, copy.artifact_location, ids)
        active = ActiveRun(self.tracking, self.run_id, "")
        outputs = self.run.outputs.model_outputs if self.run.outputs is not None else []
        step = next((output.step for output in outputs if output.model_id == model.model_id), 0)
        if not active.has_output(copy.model_id):
            self.tracking.create_once(
                lambda: (
                    self.tracking.client.log_outputs(self.run_id, [LoggedModelOutput(copy.model_id, step=step)]),
                    True,
                )[1],
                lambda: active.has_output(copy.model_id) or None,
            )
        self.tracking.client.finalize_logged_model(copy.model_id, "READY" if str(model.status) == "READY" else "FAILED")

    def _copy_files(self, what: str, own: str, there: str, ids: Mapping[str, str] | None = None) -> None:
        location = self.source.located(own)
        if (
            location is None
            and ids is None
            and self.source.located(own.rstrip("/").rpartition("/")[0].rpartition("/")[0])
        ):
            # The experiment's folder is there: this run has logged no file.
            return
        if location is None:
            self.left_out.append(f"files of {what}: there is no folder {own} (--artifacts names where they are now)")
            return
        source, target = (
            open_repository(location, self.source.uri),
            open_repository(there, self.tracking.destination.uri),
        )

        def changed(file: Path) -> None:
            replace_ids(file, ids or {})

        for size in copy_files(source, target, {} if ids is None else {"MLmodel": changed}):
            self.files += 1
            self.bytes += size
