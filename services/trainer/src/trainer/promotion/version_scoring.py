"""Scores a version, and the champion beside it, in clean processes on rows that they were not trained on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from trainer.data.dataset import Table
from trainer.promotion.sandbox import Sandbox, SandboxResult
from trainer.training.tasks import training_task
from trainer.util.text import listed

if TYPE_CHECKING:
    from trainer.promotion.compared_rows import TestRows
    from trainer.promotion.policy import PromotionPolicy
    from trainer.training.unseen_rows import UnseenRows


@dataclass(frozen=True)
class VersionMetrics:
    """A version's metrics on the test rows, or why there are none. ``digest`` is that of the rows, if known."""

    values: Mapping[str, float] = field(default_factory=dict)
    digest: str | None = None
    problem: str | None = None


class VersionScoring:
    """Both models in clean processes of their own, side by side; each scores the rows that it has not seen."""

    def __init__(self, folder: Path, policy: PromotionPolicy, test: TestRows | None) -> None:
        self._folder, self._policy, self._test = folder, policy, test
        self._probes: list[Sandbox] = []

    def start(self, files: Path, champion_files: Path | None) -> None:
        """Start the processes."""
        latency = self._policy.latency_ms is not None
        table = _rows(self._test.table, self._test.version) if self._test is not None else None
        self._probes.append(Sandbox(files, self._folder / "probe", self._policy, table=table, latency=latency))
        if champion_files is not None and self._test is not None and self._test.common is not None:
            table = _rows(self._test.champion_table, self._test.common)
            probe = Sandbox(champion_files, self._folder / "champion-probe", self._policy, table=table, latency=False)
            self._probes.append(probe)
        if self._test is not None:
            # The parent has something to do, too, while the processes start.
            import sklearn.metrics  # noqa: F401

    def results(self) -> tuple[SandboxResult, SandboxResult | None]:
        """Wait for both, and return what came of them."""
        first, *others = [probe.result() for probe in self._probes]
        return first, others[0] if others else None

    def end(self) -> None:
        """End what still runs."""
        for probe in self._probes:
            probe.end()


def _rows(table: Table | None, rows: UnseenRows) -> Table | None:
    return None if table is None or rows.problem is not None else table.take(rows.positions)


def scored(outcome: SandboxResult | None, test: TestRows, rows: UnseenRows) -> VersionMetrics:
    """Return the metrics on some of the rows that a sandbox has scored."""
    if rows.problem is not None:
        return VersionMetrics(problem=rows.problem)
    if outcome is None or outcome.classes is None:
        return VersionMetrics(problem=(outcome and outcome.error) or "it could not be scored")
    table = test.table.take(rows.positions)
    chosen = np.ones(len(outcome.classes), dtype=bool)
    if len(outcome.classes) != table.rows:
        # The version scored all of its rows; of these, the champion has not seen some.
        chosen = np.isin(test.version.positions, rows.positions, assume_unique=True)
    try:
        scores = None if outcome.probabilities is None else outcome.probabilities[chosen]
        values = training_task(test.task, test.classes).judge(table, outcome.classes[chosen], scores)
    except (ValueError, TypeError):
        what = "numbers" if not test.classes else f"the classes {listed(map(str, test.classes))}"
        return VersionMetrics(problem=f"it does not predict {'the classes 0 and 1' if test.task == 'binary' else what}")
    return VersionMetrics(values, table.digest)
