"""Checks a version of a model against a policy: in a clean process, on the test data, and beside the champion."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from trainer.config.task import TASKS, TaskName
from trainer.promotion.interface import Interface
from trainer.promotion.policy import PromotionPolicy, has_metric, more_is_better
from trainer.promotion.sandbox import SandboxResult
from trainer.promotion.trial import Trial, VersionMetrics, scored
from trainer.promotion.unseen import Load, TestRows, choose_rows
from trainer.training.model_format import code_in
from trainer.training.model_metadata import noted_task
from trainer.util.errors import TrainerError

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

    from trainer.registry.registry import Registry

_SWITCH_OFF = "to promote without, put '{}: false' into the policy"


@dataclass(frozen=True)
class Constraint:
    """One constraint and how it came out. ``value`` and ``bound`` are in ``unit``; ``detail`` says what they do not."""

    name: str
    passed: bool
    value: float | None = None
    bound: float | None = None
    at_most: bool = False
    unit: str = ""
    detail: str = ""


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
        trial = Trial(folder, policy, test)
        try:
            trial.start(files, champion_files if compare else None)
            outcome, champion_outcome = trial.results()
        finally:
            trial.end()
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
            *_in_a_clean_process(outcome, policy),
            *_on_unseen_rows(test, number, policy),
            *_on_their_own(metrics, policy, task),
            *_beside_the_champion(compared, number, champion_metrics, policy, task),
        ]
        if policy.signature:
            constraints.append(_signature(files, number, champion_files, champion_problem))
        if policy.safe_format:
            constraints.append(_format(files))
        return Verdict(tuple(constraints), metrics, compared, champion_metrics, source)


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


# Metrics --------------------------------------------------------------------------------------------------------------


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


# Constraints ----------------------------------------------------------------------------------------------------------


def _in_a_clean_process(outcome: SandboxResult, policy: PromotionPolicy) -> Iterator[Constraint]:
    loads = outcome.seconds is not None
    yield Constraint(
        "loads and predicts",
        loads,
        outcome.seconds,
        policy.seconds,
        at_most=True,
        unit="s",
        detail="" if loads else f"in a clean process: {outcome.error}",
    )
    if outcome.peak_mib is not None:
        yield Constraint(
            "memory",
            outcome.peak_mib <= policy.memory_mib,
            outcome.peak_mib,
            policy.memory_mib,
            at_most=True,
            unit="MiB",
        )
    if policy.latency_ms is not None:
        measured = outcome.latency_ms
        yield Constraint(
            "latency of 1 row, p50",
            measured is not None and measured <= policy.latency_ms,
            measured,
            policy.latency_ms,
            at_most=True,
            unit="ms",
            detail="" if measured is not None else _because(outcome.error),
        )


def _on_unseen_rows(test: TestRows | None, champion: str | None, policy: PromotionPolicy) -> Iterator[Constraint]:
    """Yield whether the rows that were scored are ones that neither model was trained on."""
    if test is None or not policy.unseen:
        return
    name = "unseen rows"
    switch_off = _SWITCH_OFF.format("unseen")
    if test.version.problem is not None:
        yield Constraint(name, False, detail=f"{test.version.problem}; {switch_off}")
    elif test.common is not None and test.common.problem is not None:
        yield Constraint(name, False, detail=f"beside version {champion}: {test.common.problem}; {switch_off}")
    else:
        both = ""
        if test.common is not None and len(test.common.positions) < len(test.version.positions):
            both = f"; beside version {champion} {test.common.detail}"
        yield Constraint(name, True, detail=test.version.detail + both)


def _on_their_own(metrics: VersionMetrics, policy: PromotionPolicy, task: TaskName = "binary") -> Iterator[Constraint]:
    for name, bound in policy.minimum.items():
        value = metrics.values.get(name)
        yield Constraint(name, value is not None and value >= bound, value, bound, detail=_missing(metrics, name, task))
    for name, bound in policy.maximum.items():
        value = metrics.values.get(name)
        passed = value is not None and value <= bound
        yield Constraint(name, passed, value, bound, at_most=True, detail=_missing(metrics, name, task))


def _beside_the_champion(
    metrics: VersionMetrics,
    champion: str | None,
    its: VersionMetrics | None,
    policy: PromotionPolicy,
    task: TaskName = "binary",
) -> Iterator[Constraint]:
    for name, tolerance in policy.champion.items():
        label = f"{name} vs champion"
        value = metrics.values.get(name)
        at_most = not more_is_better(name)
        if champion is None or its is None:
            yield Constraint(label, True, value, at_most=at_most, detail="there is no champion yet")
            continue
        who = f"version {champion}"
        other = its.values.get(name)
        if value is None:
            yield Constraint(label, False, at_most=at_most, detail=_missing(metrics, name, task))
        elif other is None:
            missing = f"{who}: {_missing(its, name, task)}; {_SWITCH_OFF.format('champion')}"
            yield Constraint(label, False, value, at_most=at_most, detail=missing)
        elif metrics.digest is None or metrics.digest != its.digest:
            tested = f"{metrics.digest or 'unknown'} and {its.digest or 'unknown'}"
            different = f"not logged on the same test rows as {who}'s (digests {tested}); give the data with --data"
            yield Constraint(label, False, value, at_most=at_most, detail=different)
        else:
            bound = other + tolerance if at_most else other - tolerance
            # The sum's last bit is nobody's intention.
            passed = value <= bound + 1e-12 if at_most else value >= bound - 1e-12
            detail = f"{who} has {other:.4f}, tolerance {tolerance:g}"
            yield Constraint(label, passed, value, bound, at_most=at_most, detail=detail)


def _missing(metrics: VersionMetrics, name: str, task: TaskName) -> str:
    if name in metrics.values:
        return ""
    if not has_metric(task, name):
        return f"a {task} model has no such metric"
    if "/" in name and metrics.values:
        return "none of the rows are of this class, or there is none of this name"
    if metrics.problem is not None:
        return _because(metrics.problem)
    return "it has no probabilities to compute it from" if metrics.values else f"{name} is not known"


def _because(error: str | None) -> str:
    return f"cannot be told: {error or 'it was not measured'}"


def _format(files: Path) -> Constraint:
    name = "format"
    try:
        code = code_in(files)
    except TrainerError as error:
        return Constraint(name, False, detail=str(error))
    if code is None:
        return Constraint(name, True, detail="runs no code of its own")
    return Constraint(name, False, detail=f"can run code, so that serving refuses it: {code}")


def _signature(files: Path, champion: str | None, champion_files: Path | None, problem: str | None) -> Constraint:
    name = "signature"
    try:
        new = Interface.of(files)
    except (TrainerError, OSError) as error:
        return Constraint(name, False, detail=str(error))
    columns = f"{len(new.inputs)} columns"
    if champion is None:
        return Constraint(name, True, detail=f"{columns}; there is no champion yet")
    who = f"version {champion}"
    try:
        if champion_files is None:
            raise TrainerError(problem or "it has no files")
        old = Interface.of(champion_files)
    except (TrainerError, OSError) as error:
        return Constraint(name, False, detail=f"{who}: {error}; {_SWITCH_OFF.format('signature')}")
    differences = new.differences(old)
    if differences:
        return Constraint(name, False, detail=f"unlike {who}'s: {'; '.join(differences)}")
    return Constraint(name, True, detail=f"{columns}, as {who}")
