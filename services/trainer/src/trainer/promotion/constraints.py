"""The constraints of a promotion: each decides whether what is known of a version satisfies the policy."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from trainer.config.task import TaskName
from trainer.promotion.compared_rows import TestRows
from trainer.promotion.policy import PromotionPolicy, has_metric, more_is_better
from trainer.promotion.sandbox import SandboxResult
from trainer.promotion.signature import Signature
from trainer.promotion.version_scoring import VersionMetrics
from trainer.training.model_format import code_in
from trainer.util.errors import TrainerError

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


def in_a_clean_process(outcome: SandboxResult, policy: PromotionPolicy) -> Iterator[Constraint]:
    """Yield whether the model loads and predicts, in how much time and memory, and how fast it answers."""
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


def on_unseen_rows(test: TestRows | None, champion: str | None, policy: PromotionPolicy) -> Iterator[Constraint]:
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


def on_their_own(metrics: VersionMetrics, policy: PromotionPolicy, task: TaskName = "binary") -> Iterator[Constraint]:
    """Yield whether the version's metrics are inside the policy's bounds."""
    for name, bound in policy.minimum.items():
        value = metrics.values.get(name)
        yield Constraint(name, value is not None and value >= bound, value, bound, detail=_missing(metrics, name, task))
    for name, bound in policy.maximum.items():
        value = metrics.values.get(name)
        passed = value is not None and value <= bound
        yield Constraint(name, passed, value, bound, at_most=True, detail=_missing(metrics, name, task))


def beside_the_champion(
    metrics: VersionMetrics,
    champion: str | None,
    its: VersionMetrics | None,
    policy: PromotionPolicy,
    task: TaskName = "binary",
) -> Iterator[Constraint]:
    """Yield whether the version's metrics are as good as the champion's, ``its``, but for the policy's tolerances."""
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


def format_without_code(files: Path) -> Constraint:
    """Return whether the model in a folder loads without running code of its own."""
    name = "format"
    try:
        code = code_in(files)
    except TrainerError as error:
        return Constraint(name, False, detail=str(error))
    if code is None:
        return Constraint(name, True, detail="runs no code of its own")
    return Constraint(name, False, detail=f"can run code, so that serving refuses it: {code}")


def signature_as_before(
    files: Path, champion: str | None, champion_files: Path | None, problem: str | None
) -> Constraint:
    """Return whether the model takes what the champion takes; ``problem`` says why the champion has no files."""
    name = "signature"
    try:
        new = Signature.of(files)
    except (TrainerError, OSError) as error:
        return Constraint(name, False, detail=str(error))
    columns = f"{len(new.inputs)} columns"
    if champion is None:
        return Constraint(name, True, detail=f"{columns}; there is no champion yet")
    who = f"version {champion}"
    try:
        if champion_files is None:
            raise TrainerError(problem or "it has no files")
        old = Signature.of(champion_files)
    except (TrainerError, OSError) as error:
        return Constraint(name, False, detail=f"{who}: {error}; {_SWITCH_OFF.format('signature')}")
    differences = new.differences(old)
    if differences:
        return Constraint(name, False, detail=f"unlike {who}'s: {'; '.join(differences)}")
    return Constraint(name, True, detail=f"{columns}, as {who}")
