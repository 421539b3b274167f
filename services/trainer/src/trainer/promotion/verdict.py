"""Checks a version of a model against a policy: in a clean process, on the test data, and beside the champion."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from trainer.config.task import TASKS, TaskName
from trainer.promotion.compared_rows import Load, choose_rows
from trainer.promotion.constraints import (
    Constraint,
    beside_the_champion,
    format_without_code,
    in_a_clean_process,
    on_their_own,
    on_unseen_rows,
    signature_as_before,
)
from trainer.promotion.policy import PromotionPolicy, has_metric
from trainer.promotion.version_scoring import VersionMetrics, VersionScoring, scored
from trainer.training.model_metadata import noted_task
from trainer.util.errors import TrainerError

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

    from trainer.registry.registry import Registry


@dataclass(frozen=True)
class Verdict:
    """How a version came out. ``source`` says where the metrics are from.

    ``compared`` are the version's metrics on the rows of ``champion_metrics``: those that are new to both.
    """

    constraints: tuple[Constraint, ...]
    metrics: VersionMetrics
    compared: VersionMetrics
    champion_metrics: VersionMetrics | None
    source: str

    @property
    def failed(self) -> list[Constraint]:
        """The constraints that are not satisfied."""
        return [constraint for constraint in self.constraints if not constraint.passed]


def check_version(
    registry: Registry,
    version: ModelVersion,
    champion: ModelVersion | None,
    policy: PromotionPolicy,
    load: Load | None,
) -> Verdict:
    """Check a version against a policy; changes nothing.

    Args:
        registry: The registered model.
        version: The version.
        champion: The current champion, if there is one.
        policy: The constraints.
        load: Reads the data of which both versions are scored on rows that they were not trained on; None to use the
            metrics that their runs have logged.

    Raises:
        TrackingError: The registry cannot be asked, or the version's files cannot be downloaded.
        InputError: The data cannot be used.
    """
    with tempfile.TemporaryDirectory(prefix="trainer-") as name:
        folder = Path(name)
        files = registry.download(version, _made(folder / "version"))
        champion_files, champion_problem = None, None
        if champion is not None and (policy.champion or policy.signature):
            try:
                champion_files = registry.download(champion, _made(folder / "champion"))
            except TrainerError as error:
                champion_problem = str(error)
        compare = champion is not None and bool(policy.champion)
        test = None
        if load is not None:
            test = choose_rows(load, files, champion_files, compare=compare, unseen=policy.unseen)
        task = _task_of(files)
        policy = policy.for_task(task)
        scoring = VersionScoring(folder, policy, test)
        try:
            scoring.start(files, champion_files if compare else None)
            outcome, champion_outcome = scoring.results()
        finally:
            scoring.end()
        if test is None:
            source = "as logged by the runs"
            metrics = compared = _logged(registry, version)
            champion_metrics = _logged(registry, champion) if champion is not None and policy.champion else None
        else:
            source = f"scored here on {len(test.version.positions):,} test rows of {test.name}"
            metrics = scored(outcome, test, test.version)
            compared, champion_metrics = metrics, None
            if test.common is not None:
                compared = scored(outcome, test, test.common)
                champion_metrics = VersionMetrics(problem=champion_problem)
                if champion_problem is None:
                    champion_metrics = scored(champion_outcome, test, test.common)
        number = str(champion.version) if champion is not None else None
        constraints = [
            *in_a_clean_process(outcome, policy),
            *on_unseen_rows(test, number, policy),
            *on_their_own(metrics, policy, task),
            *beside_the_champion(compared, number, champion_metrics, policy, task),
        ]
        if policy.signature:
            constraints.append(signature_as_before(files, number, champion_files, champion_problem))
        if policy.safe_format:
            constraints.append(format_without_code(files))
        return Verdict(tuple(constraints), metrics, compared, champion_metrics, source)


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def _logged(registry: Registry, version: ModelVersion) -> VersionMetrics:
    values, digest = registry.logged(version)
    if not values:
        return VersionMetrics(problem="its run holds no metrics; give test data with --data")
    known = {name: value for name, value in values.items() if any(has_metric(task, name) for task in TASKS)}
    return VersionMetrics(known, digest)


def _task_of(files: Path) -> TaskName:
    from mlflow.models import Model

    try:
        return noted_task(Model.load(str(files)).metadata)[0]
    except Exception:  # noqa: BLE001 - whatever reading a folder raises that holds no model; the sandbox says so
        return "binary"
