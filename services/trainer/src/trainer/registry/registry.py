"""Talks to MLflow's model registry: registers a best model once, finds versions, and moves the alias ``champion``.

The alias is moved by the very last request. All that is kept of a promotion is written before: tags on the version say
that it was approved, and the registered model's trail names the champions before and after. So a registry that goes
away half-way leaves the alias where it was, and an alias that has moved always has its record.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer.tracking import client as tracking
from trainer.tracking.client import Target, Tracking, as_default
from trainer.util.errors import InputError, RefusedError, TrackingError, downloading, one_line

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

    from trainer.data.sources import Dataset
    from trainer.runs.plan import Result

ALIAS = "champion"
#: Tags of the registered model, one for each move of the alias, in the order of time.
TRAIL = "trainer.champion."
FORMS = "models:/NAME/VERSION, models:/NAME@ALIAS or runs:/RUN_ID/model"
_NAME = re.compile(r"[^/:@'\"`\\]+")


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


@dataclass(frozen=True)
class Move:
    """One entry of the trail: the alias moved from one version to another; ``before`` is None for the first."""

    before: str | None
    after: str
    kind: str
    by: str
    policy: str | None = None


def check_name(name: str) -> str:
    """Return a registered model's name.

    Raises:
        InputError: MLflow, or a model URI, cannot hold this name.
    """
    if not name.strip() or len(name) > 250 or not _NAME.fullmatch(name):
        raise InputError(
            f"--model-name: {name!r} is not allowed; write up to 250 characters, without / : @ \\ and quotation marks"
        )
    return name


def register_best(
    target: Target, name: str, best: Result, dataset: Dataset, *, chosen_by: str, parent: str | None = None
) -> Registration:
    """Register a run's model as a version, unless that has been done before.

    Args:
        target: Where the run is tracked.
        name: The registered model's name; it is created where it does not exist.
        best: The run.
        dataset: What it was trained on and tested on.
        chosen_by: The name of the figure that it was chosen by.
        parent: The run of the sweep or search that it is the best of.

    Raises:
        TrackingError: The registry cannot be reached, or refuses; the run is as it was.
    """
    from mlflow.exceptions import MlflowException

    registry = Registry(target.uri, name)
    try:
        return registry.register(str(best.run_id), *_about(best, dataset, chosen_by, parent))
    except (MlflowException, TrackingError) as error:
        raise TrackingError(
            f"run {best.run_id} could not be registered as {name}: {tracking.failure(error)};"
            " its run and model are kept: the same command again registers it"
        ) from error


def _about(best: Result, dataset: Dataset, chosen_by: str, parent: str | None) -> tuple[dict[str, str], str]:
    """Return a version's tags and description."""
    from trainer.training import metrics

    figures = {name: best.metrics[name] for name in metrics.NAMES if name in best.metrics}
    score = best.metrics.get(chosen_by)
    tags = {
        "trainer.run_id": str(best.run_id),
        "trainer.variant": one_line(best.name),
        "trainer.chosen_by": chosen_by,
        **({} if score is None else {f"trainer.{chosen_by}": repr(score)}),
        "trainer.data": dataset.name,
        "trainer.data_digest": dataset.digest,
        "trainer.test_digest": dataset.test_digest,
        "trainer.target": dataset.target,
        **({} if parent is None else {"trainer.parent_run_id": parent}),
        **{f"test.{figure}": repr(value) for figure, value in figures.items()},
    }
    shown = ", ".join(f"{figure.replace('_', ' ')} {value:.4f}" for figure, value in figures.items())
    best_of = "" if parent is None else f" Chosen by {chosen_by.replace('_', ' ')} {score or 0:.4f} in run {parent}."
    description = (
        f"{best.name}, trained on {dataset.name} ({dataset.train.rows:,} rows).{best_of}"
        f" On {dataset.test.rows:,} test rows: {shown}."
    )
    return tags, one_line(description, 4_000)


class Registry:
    """One registered model. Methods raise MLflow's errors where it cannot be asked; see ``tracking.failure``."""

    def __init__(self, uri: str, name: str) -> None:
        """Open a client; sends no request."""
        self.uri, self.name = uri, name
        # Neither runs nor experiments are asked for by the target's own name here.
        self._tracking: Tracking = Target(uri, "", "").open()
        self.client = self._tracking.client
        self.call = self._tracking.call

    # Versions ---------------------------------------------------------------------------------------------------------

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
        found: ModelVersion | None = self._or_none(self.client.get_model_version, self.name, number)
        if found is None:
            raise InputError(f"{self.name} has no version {number}; {self._known()}")
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
        if match := re.fullmatch(r"runs:/([^/]+)/.+", uri):
            if (found := self._version_of(match[1])) is None:
                raise InputError(f"{uri}: this run is not registered as {self.name}; {self._known()}")
            return found
        match = re.fullmatch(r"models:/([^/@]+)(?:/(\d+)|@([^/@]+))", uri)
        if match is None:
            raise InputError(f"{uri}: names no version; expected {FORMS}")
        name, number, alias = match.groups()
        if name != self.name:
            raise InputError(f"{uri}: is no version of {self.name}; add --model-name {name}")
        if number is not None:
            return self.version(number)
        if (found := self.aliased(alias)) is None:
            raise InputError(f"{uri}: {self.name} has no alias {alias!r}; {self._known()}")
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
        """Return the figures that a version's run has logged, and the digest of the rows it was tested on, if known."""
        run = self._or_none(self.client.get_run, version.run_id) if version.run_id else None
        if run is None:
            return {}, None
        tested = [
            entry.dataset.digest
            for entry in (run.inputs.dataset_inputs if run.inputs else [])
            if any(tag.key == "mlflow.data.context" and tag.value == "testing" for tag in entry.tags)
        ]
        return dict(run.data.metrics), tested[0] if len(tested) == 1 else None

    # The champion -----------------------------------------------------------------------------------------------------

    def promote(
        self, version: ModelVersion, before: ModelVersion | None, *, policy: str, figures: Mapping[str, str]
    ) -> None:
        """Record that a version was approved, and make it champion.

        Args:
            version: The version.
            before: The champion that it was compared with.
            policy: The policy's digest.
            figures: Further tags of the version: what was compared.

        Raises:
            TrackingError: The champion is another one by now, or the registry fails; see ``_move``.
        """
        number, previous = str(version.version), str(before.version) if before is not None else None
        tags = {
            "trainer.approved_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "trainer.approved_by": tracking.user(),
            "trainer.approved_policy": policy,
            "trainer.previous_champion": previous or "none",
            **figures,
        }
        for key, value in tags.items():
            self.call(self.client.set_model_version_tag, self.name, number, key, value)
        self._move(Move(previous, number, "promotion", tags["trainer.approved_by"], policy))

    def rollback_target(self) -> tuple[ModelVersion, ModelVersion]:
        """Return the champion, and the version that was champion before it was promoted.

        Raises:
            RefusedError: There is none, or it is gone.
        """
        current = self.aliased()
        if current is None:
            raise RefusedError(f"{self.name} has no champion; there is nothing to roll back")
        number = str(current.version)
        moves = [move for move in self.trail() if move.kind == "promotion" and move.after == number]
        if not moves:
            raise RefusedError(
                f"version {number} of {self.name} was not made champion by 'trainer promote': which was champion before"
                " it is not known; 'trainer promote --version N' makes another one champion"
            )
        previous = moves[-1].before
        if previous is None:
            raise RefusedError(f"version {number} is the first champion of {self.name}; there is none to return to")
        found = self._or_none(self.client.get_model_version, self.name, previous)
        if found is None:
            raise RefusedError(
                f"version {previous}, the champion before {number}, has been deleted;"
                " 'trainer promote --version N' makes another one champion"
            )
        return current, found

    def roll_back(self, current: ModelVersion, previous: ModelVersion) -> None:
        """Make a version champion again.

        Raises:
            TrackingError: The champion is another one by now, or the registry fails; see ``_move``.
        """
        self._move(Move(str(current.version), str(previous.version), "rollback", tracking.user()))

    def trail(self) -> Sequence[Move]:
        """Return the alias's moves in the order of time; the last one may not have been carried out."""
        tags = self.call(self.client.get_registered_model, self.name).tags
        moves = []
        for key in sorted(key for key in tags if key.startswith(TRAIL)):
            # Anyone may write tags.
            with suppress(ValueError, TypeError):
                moves.append(Move(**json.loads(tags[key])))
        return moves

    def _move(self, move: Move) -> None:
        """Write an entry of the trail, and move the alias by the request after it, the last one.

        Where that fails, the alias tells what came of it: moved after all, or not; in the latter case the entry is
        taken back.

        Raises:
            TrackingError: The alias was not moved; or, where the registry is gone, may not have been.
        """
        from mlflow.exceptions import MlflowException

        key = f"{TRAIL}{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}"
        content = {name: value for name, value in vars(move).items() if value is not None or name == "before"}
        self.call(self.client.set_registered_model_tag, self.name, key, json.dumps(content))
        now = self.aliased()
        found = str(now.version) if now is not None else None
        if found != move.before:
            self._take_back(key)
            raise TrackingError(
                f"{ALIAS} was moved meanwhile, from {_shown(move.before)} to {_shown(found)}; it stays there:"
                " try again to compare with that one"
            )
        try:
            self.call(self.client.set_registered_model_alias, self.name, ALIAS, move.after)
        except MlflowException as error:
            try:
                with tracking.limits(retries=0, timeout=5):
                    now = self.aliased()
            except MlflowException:
                raise TrackingError(
                    f"{tracking.failure(error)}; whether {ALIAS} has moved from {_shown(move.before)} to"
                    f" version {move.after} cannot be asked: look before trying again"
                ) from error
            if now is not None and str(now.version) == move.after:
                return
            self._take_back(key)
            raise TrackingError(f"{tracking.failure(error)}; {ALIAS} stays at {_shown(move.before)}") from error

    def _take_back(self, key: str) -> None:
        from mlflow.exceptions import MlflowException

        with suppress(MlflowException), tracking.limits(retries=0, timeout=5):
            self.client.delete_registered_model_tag(self.name, key)

    # Questions --------------------------------------------------------------------------------------------------------

    def _create_model(self) -> None:
        from mlflow.exceptions import MlflowException

        try:
            # Safe to retry: a second creation of the same name is refused.
            self.call(self.client.create_registered_model, self.name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
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
            absent = error.error_code == "RESOURCE_DOES_NOT_EXIST"
            # This is how MLflow answers for an alias of a model that there is, and for a number that is none.
            if absent or (error.error_code == "INVALID_PARAMETER_VALUE" and "not found" in str(error).lower()):
                return None
            raise


def _shown(version: str | None) -> str:
    return "none" if version is None else f"version {version}"
