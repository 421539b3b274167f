"""One registered model in MLflow's registry: finds versions, registers a run's model once, downloads files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer.tracking.client import Destination, Tracking
from trainer.tracking.errors import already_exists, is_missing
from trainer.tracking.inputs import test_digest
from trainer.tracking.model_uri import ModelUri
from trainer.tracking.settings import as_default
from trainer.util.errors import InputError, TrackingError, downloading
from trainer.util.text import one_line

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion


ALIAS = "champion"
FORMS = "models:/NAME/VERSION, models:/NAME@ALIAS or runs:/RUN_ID/model"


@dataclass(frozen=True)
class Registration:
    """A version of a registered model; ``created`` is False where it had been registered before."""

    name: str
    version: str
    created: bool

    @property
    def uri(self) -> str:
        """The version's model URI."""
        return f"models:/{self.name}/{self.version}"


class Registry:
    """One registered model. Methods raise MLflow's errors where it cannot be asked; see ``tracking.errors``."""

    def __init__(self, uri: str, name: str) -> None:
        """Open a client; sends no request."""
        self.uri, self.name = uri, name
        # Neither runs nor experiments are asked for by the destination's own name here.
        self._tracking: Tracking = Destination(uri, "", "").open()
        self.client = self._tracking.client
        self.call = self._tracking.call

    def register(self, run_id: str, tags: Mapping[str, str], description: str) -> Registration:
        """Register a run's model, unless it is a version already."""
        if (known := self._version_of(run_id)) is not None:
            return Registration(self.name, str(known.version), False)
        model_id = self._model_id(run_id)
        self._create_model()
        with as_default(self.uri):
            created = self._tracking.create_once(
                lambda: self.client.create_model_version(
                    self.name,
                    f"models:/{model_id}",
                    run_id=run_id,
                    tags=dict(tags),
                    description=description,
                    model_id=model_id,
                ),
                lambda: self._version_of(run_id),
            )
        return Registration(self.name, str(created.version), True)

    def version(self, number: str) -> ModelVersion:
        """Return a version.

        Raises:
            InputError: There is none of this number.
        """
        if (found := self.version_or_none(number)) is None:
            raise InputError(f"{self.name} has no version {number}; {self._known()}")
        return found

    def version_or_none(self, number: str) -> ModelVersion | None:
        """Return a version, or None where there is none of this number."""
        found: ModelVersion | None = self._or_none(self.client.get_model_version, self.name, number)
        return found

    def latest(self) -> ModelVersion:
        """Return the version with the highest number.

        Raises:
            InputError: There is none.
        """
        found = self._search(f"name = '{self.name}'", 1)
        if not found:
            raise InputError(f"{self.name} has no versions; 'trainer sweep' registers its best model")
        return found[0]

    def find(self, uri: str) -> ModelVersion:
        """Return the version that a model URI names.

        Raises:
            InputError: It names none of this registered model.
        """
        named = ModelUri.parse(uri)
        if named is not None and named.run_id is not None and named.path is not None:
            if (found := self._version_of(named.run_id)) is None:
                raise InputError(f"{uri}: this run is not registered as {self.name}; {self._known()}")
            return found
        if named is None or (named.version is None and named.alias is None):
            raise InputError(f"{uri}: names no version; expected {FORMS}")
        if named.name != self.name:
            raise InputError(f"{uri}: is no version of {self.name}; add --model-name {named.name}")
        if named.version is not None:
            return self.version(named.version)
        if (found := self.aliased(str(named.alias))) is None:
            raise InputError(f"{uri}: {self.name} has no alias {named.alias!r}; {self._known()}")
        return found

    def aliased(self, alias: str = ALIAS) -> ModelVersion | None:
        """Return the version that an alias names, or None."""
        found: ModelVersion | None = self._or_none(self.client.get_model_version_by_alias, self.name, alias)
        return found

    def download(self, version: ModelVersion, folder: Path) -> Path:
        """Return the folder with a version's files.

        Raises:
            TrackingError: They cannot be downloaded.
        """
        import mlflow
        from mlflow.exceptions import MlflowException

        uri = f"models:/{self.name}/{version.version}"
        try:
            with as_default(self.uri), downloading(folder):
                download = mlflow.artifacts.download_artifacts
                found = Path(self.call(download, artifact_uri=uri, dst_path=str(folder)))
        except (MlflowException, OSError) as error:
            # Requests' own errors are OSErrors too.
            raise TrackingError(f"{uri} cannot be downloaded: {one_line(error, 300)}") from error
        if not (found / "MLmodel").is_file():
            raise TrackingError(f"{uri} cannot be downloaded: its files are gone from {version.source}")
        return found

    def logged(self, version: ModelVersion) -> tuple[dict[str, float], str | None]:
        """Return the metrics that a version's run has logged, and the digest of the rows it was tested on, if known."""
        run = self._or_none(self.client.get_run, version.run_id) if version.run_id else None
        if run is None:
            return {}, None
        return dict(run.data.metrics), test_digest(run)

    def _create_model(self) -> None:
        from mlflow.exceptions import MlflowException

        try:
            # Safe to retry: a second creation of the same name is refused.
            self.call(self.client.create_registered_model, self.name)
        except MlflowException as error:
            if not already_exists(error):
                raise

    def _model_id(self, run_id: str) -> str:
        run = self.call(self.client.get_run, run_id)
        outputs = run.outputs.model_outputs if run.outputs is not None else []
        if not outputs:
            raise TrackingError(f"run {run_id} has no model")
        return str(outputs[0].model_id)

    def _version_of(self, run_id: str) -> ModelVersion | None:
        found = self._search(f"name = '{self.name}' AND run_id = '{run_id}'", 1)
        return found[0] if found else None

    def _search(self, filters: str, most: int) -> Sequence[ModelVersion]:
        found: Sequence[ModelVersion] = self.call(
            self.client.search_model_versions, filters, max_results=most, order_by=["version_number DESC"]
        )
        return found

    def _known(self) -> str:
        numbers = [str(version.version) for version in self._search(f"name = '{self.name}'", 8)]
        return f"its latest versions are {', '.join(numbers)}" if numbers else "it has no versions"

    def _or_none(self, ask: Any, *args: Any) -> Any:
        """Return an answer, or None where the registry says that there is no such thing."""
        from mlflow.exceptions import MlflowException

        try:
            return self.call(ask, *args)
        except MlflowException as error:
            if is_missing(error):
                return None
            raise
