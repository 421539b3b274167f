"""Which runs the rules delete: old enough, neither among the best nor the latest, and without a registered model."""

import math
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from replica_server.housekeeping.ownership import rows
from replica_server.housekeeping.rules import Rule, Rules

if TYPE_CHECKING:
    from sqlalchemy import Engine

DAY = 24 * 3600 * 1000  # ms
ENDED = ("FINISHED", "FAILED", "KILLED")
EXPERIMENTS = "SELECT experiment_id, name FROM experiments WHERE lifecycle_stage = 'active' ORDER BY experiment_id"
RUNS = """
    SELECT runs.run_uuid, runs.name, runs.status, runs.start_time, runs.end_time, parents.value,
        CASE WHEN metrics.is_nan THEN NULL ELSE metrics.value END
    FROM runs
    LEFT JOIN tags AS parents ON parents.run_uuid = runs.run_uuid AND parents.key = 'mlflow.parentRunId'
    LEFT JOIN latest_metrics AS metrics ON metrics.run_uuid = runs.run_uuid AND metrics.key = :metric
    WHERE runs.experiment_id = :experiment AND runs.lifecycle_stage = 'active'
    ORDER BY runs.start_time, runs.run_uuid
"""


@dataclass(frozen=True)
class Run:
    """A run that is not deleted.

    Attributes:
        id: Its id.
        name: Its name.
        status: Its status.
        started: When it was started (ms since 1970).
        ended: When it ended; None while it is under way.
        parent: The id of the run that it is nested under; empty without one.
        metric: The last value of the rule's metric; None without one.
    """

    id: str
    name: str
    status: str
    started: int
    ended: int | None
    parent: str
    metric: float | None


def runs_of(engine: "Engine", experiment: int, metric: str) -> list[Run]:
    """Returns the runs of an experiment, the oldest first."""
    return [
        Run(run_id, name or "", status, started or 0, ended, parent or "", value)
        for run_id, name, status, started, ended, parent, value in rows(
            engine, RUNS, experiment=experiment, metric=metric
        )
    ]


def kept(runs: list[Run], rule: Rule, registered: Collection[str], now: int) -> dict[str, str]:
    """Returns the ids of the runs that stay, each with the reason."""
    reasons: dict[str, str] = {}

    def keep(some: list[Run], reason: str) -> None:
        for run in some:
            reasons.setdefault(run.id, reason)

    keep([run for run in runs if run.id in registered], "registered")
    keep([run for run in runs if run.status not in ENDED], "under way")
    if rule.keep_best:
        sign = 1 if rule.better == "higher" else -1
        measured = [run for run in runs if run.metric is not None and not math.isnan(run.metric)]
        # Among equal values the latest run comes first.
        measured.sort(key=lambda run: (sign * (run.metric or 0), run.started), reverse=True)
        keep(measured[: rule.keep_best], "best")
    if rule.keep_latest:
        keep(runs[-rule.keep_latest :], "latest")
    if rule.older_than is not None:
        border = now - int(rule.older_than * DAY)
        keep([run for run in runs if (run.ended or run.started) >= border], "young")
    # The parents of a run that stays are kept too.
    parents = {run.id: run.parent for run in runs}
    for run_id in list(reasons):
        above = parents.get(run_id, "")
        while above in parents and above not in reasons:
            reasons[above] = "above one that stays"
            above = parents[above]
    return reasons


@dataclass(frozen=True)
class Choice:
    """Which of an experiment's runs are deleted, and how many stay.

    Attributes:
        experiment: Its name.
        doomed: The runs that are to be deleted.
        kept: How many stay, by the reason.
    """

    experiment: str
    doomed: list[Run]
    kept: dict[str, int]


def choose(engine: "Engine", rules: Rules, registered: Collection[str]) -> Iterator[Choice]:
    """Yields what becomes of the runs of each experiment that has a rule."""
    now = int(time.time() * 1000)
    for experiment, name in list(rows(engine, EXPERIMENTS)):
        rule = rules.rule_of(name)
        if rule is None:
            continue
        runs = runs_of(engine, experiment, rule.metric)
        reasons = kept(runs, rule, registered, now)
        counts: dict[str, int] = {}
        for reason in reasons.values():
            counts[reason] = counts.get(reason, 0) + 1
        yield Choice(name, [run for run in runs if run.id not in reasons], counts)
