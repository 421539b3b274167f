"""Checks a version of a model against a policy: in a clean process, on the test data, and beside the champion."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from trainer.data.sources import listed
from trainer.promotion.policy import FIGURES, Policy
from trainer.promotion.sandbox import Outcome, Probe
from trainer.scoring.columns import own_kinds
from trainer.training import metrics
from trainer.util.errors import TrainerError

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion
    from mlflow.models import Model

    from trainer.data.sources import Dataset
    from trainer.registry.registry import Registry

_SWITCH_OFF = "to promote without, put '{}: false' into the policy"


@dataclass(frozen=True)
class Constraint:
    """One constraint and how it came out. ``value`` and ``bound`` are in ``unit``; ``remark`` says what they do not."""

    name: str
    passed: bool
    value: float | None = None
    bound: float | None = None
    at_most: bool = False
    unit: str = ""
    remark: str = ""


@dataclass(frozen=True)
class Figures:
    """A version's figures on the test rows, or why there are none. ``digest`` is that of the rows, if known."""

    values: Mapping[str, float] = field(default_factory=dict)
    digest: str | None = None
    problem: str | None = None


@dataclass(frozen=True)
class Verdict:
    """How a version came out. ``source`` says where the figures are from."""

    constraints: tuple[Constraint, ...]
    figures: Figures
    champion_figures: Figures | None
    source: str

    @property
    def failed(self) -> list[Constraint]:
        """The constraints that are not satisfied."""
        return [constraint for constraint in self.constraints if not constraint.passed]


def check(
    registry: Registry, version: ModelVersion, champion: ModelVersion | None, policy: Policy, dataset: Dataset | None
) -> Verdict:
    """Check a version against a policy; changes nothing.

    Args:
        registry: The registered model.
        version: The version.
        champion: The current champion, if there is one.
        policy: The constraints.
        dataset: Its test rows are scored with both versions; None to use the figures that their runs have logged.

    Raises:
        TrackingError: The registry cannot be asked, or the version's files cannot be downloaded.
    """
    with tempfile.TemporaryDirectory(prefix="trainer-") as name:
        folder = Path(name)
        table = _write_table(dataset, folder / "test.parquet") if dataset is not None else None
        files = registry.download(version, _made(folder / "version"))
        probe = Probe(files, folder / "probe", policy, table=table, latency=policy.latency_ms is not None)
        champion_probe, champion_files, champion_problem = None, None, None
        try:
            if champion is not None and (policy.champion or policy.signature):
                try:
                    champion_files = registry.download(champion, _made(folder / "champion"))
                    if dataset is not None and policy.champion:
                        champion_probe = Probe(
                            champion_files, folder / "champion-probe", policy, table=table, latency=False
                        )
                except TrainerError as error:
                    champion_problem = str(error)
            if dataset is not None:
                # The parent has something to do, too, while the processes start.
                import sklearn.metrics  # noqa: F401
            outcome = probe.result()
            champion_outcome = champion_probe.result() if champion_probe is not None else None
        finally:
            for one in (probe, champion_probe):
                if one is not None:
                    one.end()
        if dataset is None:
            source = "as logged by the runs"
            figures = _logged(registry, version)
            champion_figures = _logged(registry, champion) if champion is not None and policy.champion else None
        else:
            source = f"scored here on {dataset.test.rows:,} test rows of {dataset.name}"
            figures = _scored(outcome, dataset)
            champion_figures = _scored(champion_outcome, dataset) if champion_outcome is not None else None
            if champion_problem is not None:
                champion_figures = Figures(problem=champion_problem)
        number = str(champion.version) if champion is not None else None
        constraints = [
            *_in_a_clean_process(outcome, policy),
            *_on_their_own(figures, policy),
            *_beside_the_champion(figures, number, champion_figures, policy),
        ]
        if policy.signature:
            constraints.append(_signature(files, number, champion_files, champion_problem))
        return Verdict(tuple(constraints), figures, champion_figures, source)


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def _write_table(dataset: Dataset, path: Path) -> Path:
    dataset.test.features.to_parquet(path, index=False)
    return path


# Figures --------------------------------------------------------------------------------------------------------------


def _logged(registry: Registry, version: ModelVersion) -> Figures:
    values, digest = registry.logged(version)
    if not values:
        return Figures(problem="its run holds no figures; give test data with --data")
    return Figures({name: values[name] for name in FIGURES if name in values}, digest)


def _scored(outcome: Outcome, dataset: Dataset) -> Figures:
    if outcome.classes is None:
        return Figures(problem=outcome.error or "it could not be scored")
    try:
        values = metrics.judge(dataset.test.target, outcome.classes.astype(np.int64) == 1, outcome.probability)
    except (ValueError, TypeError):
        return Figures(problem="it does not predict the classes 0 and 1")
    return Figures(values, dataset.test_digest)


# Constraints ----------------------------------------------------------------------------------------------------------


def _in_a_clean_process(outcome: Outcome, policy: Policy) -> Iterator[Constraint]:
    loads = outcome.seconds is not None
    yield Constraint(
        "loads and predicts",
        loads,
        outcome.seconds,
        policy.seconds,
        at_most=True,
        unit="s",
        remark="" if loads else f"in a clean process: {outcome.error}",
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
            remark="" if measured is not None else _because(outcome.error),
        )


def _on_their_own(figures: Figures, policy: Policy) -> Iterator[Constraint]:
    for name, bound in policy.minimum.items():
        value = figures.values.get(name)
        yield Constraint(name, value is not None and value >= bound, value, bound, remark=_missing(figures, name))
    for name, bound in policy.maximum.items():
        value = figures.values.get(name)
        passed = value is not None and value <= bound
        yield Constraint(name, passed, value, bound, at_most=True, remark=_missing(figures, name))


def _beside_the_champion(
    figures: Figures, champion: str | None, its: Figures | None, policy: Policy
) -> Iterator[Constraint]:
    for name, tolerance in policy.champion.items():
        label = f"{name} vs champion"
        value = figures.values.get(name)
        at_most = not FIGURES[name]
        if champion is None or its is None:
            yield Constraint(label, True, value, at_most=at_most, remark="there is no champion yet")
            continue
        who = f"version {champion}"
        other = its.values.get(name)
        if value is None:
            yield Constraint(label, False, at_most=at_most, remark=_missing(figures, name))
        elif other is None:
            missing = f"{who}: {_missing(its, name)}; {_SWITCH_OFF.format('champion')}"
            yield Constraint(label, False, value, at_most=at_most, remark=missing)
        elif figures.digest is None or figures.digest != its.digest:
            tested = f"{figures.digest or 'unknown'} and {its.digest or 'unknown'}"
            different = f"not logged on the same test rows as {who}'s (digests {tested}); give the data with --data"
            yield Constraint(label, False, value, at_most=at_most, remark=different)
        else:
            bound = other + tolerance if at_most else other - tolerance
            # The sum's last bit is nobody's intention.
            passed = value <= bound + 1e-12 if at_most else value >= bound - 1e-12
            remark = f"{who} has {other:.4f}, tolerance {tolerance:g}"
            yield Constraint(label, passed, value, bound, at_most=at_most, remark=remark)


def _missing(figures: Figures, name: str) -> str:
    if name in figures.values:
        return ""
    if figures.problem is not None:
        return _because(figures.problem)
    return "it has no probabilities to compute it from" if figures.values else f"{name} is not known"


def _because(error: str | None) -> str:
    return f"cannot be told: {error or 'it was not measured'}"


# Signatures -----------------------------------------------------------------------------------------------------------

#: What a column of one type can be given to as well.
_WIDER: Mapping[str, frozenset[str]] = {
    "integer": frozenset({"long", "float", "double"}),
    "long": frozenset({"double"}),
    "float": frozenset({"double"}),
}
_KIND_TYPES = {"number": "double", "boolean": "boolean", "text": "string"}


def _signature(files: Path, champion: str | None, champion_files: Path | None, problem: str | None) -> Constraint:
    name = "signature"
    try:
        new = _Interface.of(files)
    except (TrainerError, OSError) as error:
        return Constraint(name, False, remark=str(error))
    columns = f"{len(new.inputs)} columns"
    if champion is None:
        return Constraint(name, True, remark=f"{columns}; there is no champion yet")
    who = f"version {champion}"
    try:
        if champion_files is None:
            raise TrainerError(problem or "it has no files")
        old = _Interface.of(champion_files)
    except (TrainerError, OSError) as error:
        return Constraint(name, False, remark=f"{who}: {error}; {_SWITCH_OFF.format('signature')}")
    differences = new.differences(old)
    if differences:
        return Constraint(name, False, remark=f"unlike {who}'s: {'; '.join(differences)}")
    return Constraint(name, True, remark=f"{columns}, as {who}")


@dataclass(frozen=True)
class _Interface:
    """A model's columns and outputs: type and whether it is required, by name."""

    inputs: Mapping[str, tuple[str, bool]]
    outputs: Mapping[str, tuple[str, bool]]

    @classmethod
    def of(cls, folder: Path) -> _Interface:
        from mlflow.exceptions import MlflowException
        from mlflow.models import Model

        try:
            described = Model.load(str(folder))
        except (MlflowException, OSError, ValueError, TypeError, KeyError) as error:
            raise TrainerError(f"its files hold no model: {error}") from error
        if described.signature is None or described.signature.inputs is None:
            raise TrainerError("it has no signature")
        return cls(_columns(described.signature.inputs, described), _columns(described.signature.outputs, None))

    def differences(self, old: _Interface) -> list[str]:
        """Return what the callers of another model would run into; empty where there is nothing."""
        found = []
        if missing := [name for name in old.inputs if name not in self.inputs]:
            found.append(f"it lacks {listed(missing)}")
        if extra := [name for name, (_, needed) in self.inputs.items() if needed and name not in old.inputs]:
            found.append(f"it also needs {listed(extra)}")
        for name, (type_, needed) in self.inputs.items():
            if name not in old.inputs:
                continue
            before, was_needed = old.inputs[name]
            if not _takes(type_, before):
                found.append(f"{name} is {type_} instead of {before}")
            elif needed and not was_needed:
                found.append(f"{name} is required")
        if list(self.outputs) != list(old.outputs):
            found.append(f"it returns {listed(self.outputs) or 'no names'} instead of {listed(old.outputs)}")
        else:
            # Those who read its answers take what they took, or less.
            found += [
                f"it returns {type_} instead of {old.outputs[name][0]}"
                for name, (type_, _) in self.outputs.items()
                if not _takes(old.outputs[name][0], type_)
            ]
        return found


def _columns(schema: Any, described: Model | None) -> dict[str, tuple[str, bool]]:
    """Return a schema's columns; where the trainer's own models say "any", the kind that they were trained on."""
    kinds = (own_kinds(described) if described is not None else None) or {}
    columns: dict[str, tuple[str, bool]] = {}
    for place, spec in enumerate(schema.inputs if schema is not None else ()):
        name = str(spec.name) if spec.name is not None else f"column {place}"
        type_ = getattr(spec.type, "name", None) or str(spec.type).strip("'\"").lower()
        if "any" in type_.lower():
            type_ = _KIND_TYPES[kinds[name]] if name in kinds else "any"
        columns[name] = (type_, bool(getattr(spec, "required", True)))
    return columns


def _takes(type_: str, given: str) -> bool:
    return type_ == given or "any" in (type_, given) or type_ in _WIDER.get(given, ())
