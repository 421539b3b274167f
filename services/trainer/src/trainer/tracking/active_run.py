"""A run that is under way, and its logged model."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer.tracking.errors import is_transient
from trainer.tracking.settings import limits
from trainer.tracking.tags import FAILURE_TAG, HEARTBEAT_TAG, KEY_TAG
from trainer.util.errors import TrackingError
from trainer.util.signals import defer_signals, ignore_signals
from trainer.util.text import one_line

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import DatasetInput, Metric

    from trainer.tracking.client import Tracking

#: Seconds between two signs of life.
BEAT = 60.0
#: Files that are uploaded side by side.
_UPLOADS = 4


def sign_of_life() -> str:
    """Return the heartbeat's tag of this moment."""
    return str(int(time.time()))


@dataclass
class ActiveRun:
    """A run that is under way. Its methods send as few requests as MLflow's interface allows."""

    tracking: Tracking
    run_id: str
    key: str
    pending_model: str | None = field(default=None, init=False)
    #: Whether another process ends it when all is well.
    handed_over: bool = field(default=False, init=False)

    @property
    def client(self) -> MlflowClient:
        """MLflow's client."""
        return self.tracking.client

    def log(
        self,
        metrics: Sequence[Metric] = (),
        params: Mapping[str, Any] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """Log metrics, parameters and tags together; MLflow's client splits them as its limits demand.

        A request that is sent again after a lost reply is stored once.

        Args:
            metrics: See ``metrics`` and ``history``.
            params: Parameters; values are logged as text.
            tags: Tags.
        """
        from mlflow.entities import Param, RunTag

        self.tracking.call(
            self.client.log_batch,
            self.run_id,
            metrics=metrics,
            params=[Param(name, str(value)) for name, value in (params or {}).items()],
            tags=[RunTag(name, value) for name, value in (tags or {}).items()],
            # Whatever MLFLOW_ENABLE_ASYNC_LOGGING says: a failure must show here.
            synchronous=True,
        )

    def beat(self) -> None:
        """Say that this process lives, as a tag: a run that is not ended by its process is told by its silence."""
        self.client.set_tag(self.run_id, HEARTBEAT_TAG, sign_of_life(), synchronous=True)

    def log_inputs(self, datasets: list[DatasetInput]) -> None:
        """Log the data sets that went in."""
        from mlflow.exceptions import MlflowException

        try:
            self.tracking.call(self.client.log_inputs, self.run_id, datasets=datasets)
        except MlflowException as error:
            if is_transient(error):
                raise
            # Two runs that register the same data at the same moment collide once; the second time it is there.
            self.tracking.call(self.client.log_inputs, self.run_id, datasets=datasets)

    def log_files(self, folder: Path) -> None:
        """Upload a folder's contents as the run's artifacts."""
        self._upload(self.client.log_artifact, self.run_id, folder)

    @contextmanager
    def model(self, name: str, params: Mapping[str, Any]) -> Iterator[LoggedModel]:
        """Create a logged model of this run; what happens inside uploads it, then it is made ready.

        Args:
            name: The model's name, under which ``runs:/<run_id>/<name>`` finds it.
            params: Shown as the model's parameters.
        """
        from mlflow.entities import LoggedModelOutput

        destination = self.tracking.destination
        created = self.tracking.create_once(
            lambda: self.client.create_logged_model(
                destination.experiment_id,
                name=name,
                source_run_id=self.run_id,
                tags={KEY_TAG: self.key},
                params={key: str(value) for key, value in params.items()},
            ),
            lambda: self._find_model(name),
        )
        self.pending_model = created.model_id
        yield LoggedModel(self, created.model_id, created.artifact_location)
        self.tracking.create_once(
            lambda: (self.client.log_outputs(self.run_id, [LoggedModelOutput(created.model_id, step=0)]), True)[1],
            lambda: self.has_output(created.model_id) or None,
        )
        self.tracking.call(self.client.finalize_logged_model, created.model_id, "READY")
        self.pending_model = None

    def end(self, status: str, *, reason: str | None = None, patient: bool = False) -> bool:
        """End the run and return whether that worked.

        Args:
            status: FINISHED, FAILED or KILLED.
            reason: Why the run failed, kept as a tag.
            patient: Retry as long as for any other request; else give up after a few seconds.
        """
        with end_undisturbed(status), limits(**({} if patient else {"retries": 2, "timeout": 5})):
            # In here: it may be the first import of MLflow, which takes a second.
            from mlflow.exceptions import MlflowException

            try:
                if self.handed_over and self.client.get_run(self.run_id).info.status != "RUNNING":
                    return True
                if self.pending_model is not None:
                    with suppress(MlflowException):
                        self.tracking.call(self.client.finalize_logged_model, self.pending_model, "FAILED")
                if reason is not None:
                    self.log(tags={FAILURE_TAG: reason})
                self.tracking.call(self.client.set_terminated, self.run_id, status)
            except MlflowException:
                return False
        return True

    def _find_model(self, name: str) -> Any:
        filters = f"name = '{name}' AND source_run_id = '{self.run_id}'"
        found = self.client.search_logged_models([self.tracking.destination.experiment_id], filters, max_results=1)
        return found[0] if found else None

    def has_output(self, model_id: str) -> bool:
        """Tell whether the run names a logged model as its own."""
        outputs = self.client.get_run(self.run_id).outputs
        return outputs is not None and any(output.model_id == model_id for output in outputs.model_outputs)

    def _upload(self, upload: Callable[[str, str, str | None], None], owner: str, folder: Path) -> None:
        """Upload a folder's files side by side: MLflow by itself waits for the answer to each before the next."""

        def send(file: Path) -> None:
            place = file.parent.relative_to(folder).as_posix()
            self.tracking.call(upload, owner, str(file), None if place == "." else place)

        first, *others = sorted(file for file in folder.rglob("*") if file.is_file())
        try:
            # Alone, because MLflow then asks where the artifacts go, and remembers.
            send(first)
            with ThreadPoolExecutor(_UPLOADS) as pool:
                for _ in pool.map(send, others):
                    pass
        except OSError as error:
            # Requests' own errors are OSErrors too, without a file's name.
            where = f" ({error.filename})" if getattr(error, "filename", None) else ""
            what = error.strerror or one_line(error)
            raise TrackingError(f"cannot store artifacts{where}: {what}") from error


@dataclass(frozen=True)
class LoggedModel:
    """A logged model that is being uploaded."""

    run: ActiveRun
    model_id: str
    location: str

    def upload(self, folder: Path) -> None:
        """Upload a folder in MLflow's model format."""
        self.run._upload(self.run.client.log_model_artifact, self.model_id, folder)


def end_undisturbed(status: str) -> AbstractContextManager[None]:
    """Keep signals from what ends a run; the first of them takes effect afterwards, others are ignored."""
    return ignore_signals() if status == "KILLED" else defer_signals()
