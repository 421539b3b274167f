"""The folds of one variant on several workers: the same run as on one machine, to the bit."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from typing import Any

import pytest
from mlflow import MlflowClient
from trainer.config.variant import complete_params
from trainer.data.dataset import Dataset
from trainer.parallel.pool import TaskResult
from trainer.parallel.progress import Step
from trainer.parallel.spread_folds import FoldsBySide
from trainer.training.cross_validation import FoldWork, cross_validated
from trainer.util.errors import TrainerError

from ..conftest import Answer
from .cluster_processes import LocalCluster, runs_of

FOLDS = 3


class Here:
    """An engine that runs tasks in this process, last first; those of ``lost`` are started twice."""

    jobs, remote, warm, idle = 1, True, True, True

    def __init__(self, lost: tuple[int, ...] = (), error: Exception | None = None) -> None:
        self.lost, self.error = lost, error
        self.maps: list[list[int]] = []

    def warm_up(self) -> None:
        """Do nothing."""

    def map(
        self,
        task: Callable[[Any, Any], Any],
        items: Iterable[Any],
        shared: Any = None,
        *,
        again: Callable[[Any, str], Any] | None = None,
        show: Callable[[Step], None] | None = None,  # noqa: ARG002
        answer: Callable[[Any], Any] | None = None,  # noqa: ARG002
    ) -> Generator[TaskResult[Any, Any]]:
        """Run the tasks."""
        self.maps.append(list(items))
        for index, item in reversed(list(enumerate(self.maps[-1]))):
            if item in self.lost and again is not None:
                assert again(item, "worker w died") == item
            if self.error is not None:
                yield TaskResult(index, item, error=self.error)
            else:
                yield TaskResult(index, item, answer=task(item, shared))


def work(dataset: Dataset, **params: Any) -> FoldWork:
    return FoldWork(complete_params({"n_estimators": 12, **params}), dataset, 5, "average_precision", folds=FOLDS)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("params", "maps"),
    [
        ({}, [[-1, 0, 1, 2]]),
        ({"n_estimators": 300, "early_stopping_round": 5}, [[0, 1, 2], [-1]]),
    ],
    ids=["fixed", "early stopping"],
)
def test_folds_are_those_of_one_process(dataset: Dataset, params: dict[str, Any], maps: list[list[int]]) -> None:
    """Where the folds tell how many iterations the last model makes, it waits for them."""
    engine = Here()
    one = cross_validated(work(dataset, **params), [])
    other = cross_validated(work(dataset, **params), [], spread=FoldsBySide(engine, print))
    assert engine.maps == maps
    assert other.scores.tobytes() == one.scores.tobytes()
    assert other.losses == one.losses
    assert [part.tolist() for part in other.parts] == [part.tolist() for part in one.parts]
    assert other.pipeline[-1].booster_.model_to_string() == one.pipeline[-1].booster_.model_to_string()


def test_lost_fold_starts_again(dataset: Dataset) -> None:
    told: list[str] = []
    cross_validated(work(dataset), [], spread=FoldsBySide(Here(lost=(1, -1)), told.append))
    assert told == [
        "worker w died: fold 2 starts again on another worker",
        "worker w died: the model of all rows starts again on another worker",
    ]


def test_failed_fold_ends_the_fit(dataset: Dataset) -> None:
    spread = FoldsBySide(Here(error=TrainerError("no good")), print)
    with pytest.raises(TrainerError, match="no good"):
        cross_validated(work(dataset), [], spread=spread)


@pytest.mark.process
@pytest.mark.parametrize(
    "how",
    [
        ("--n-estimators", 20),
        ("--n-estimators", 300, "--early-stopping-round", 5),
        ("--estimator", "sklearn.tree:DecisionTreeClassifier"),
    ],
    ids=["fixed", "early stopping", "another estimator"],
)
def test_run_is_that_of_one_machine(
    cluster: LocalCluster,
    server: str,
    trainer: Callable[..., Answer],
    monkeypatch: pytest.MonkeyPatch,
    how: tuple[object, ...],
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    monkeypatch.setenv("TRAINER_CLUSTER_CERTIFICATES", str(cluster.client.folder))
    names = [f"{where} {len(how)} {how[1]}" for where in ("alone", "spread")]
    arguments = ("train", "--cv", FOLDS, *how, "--json", "--experiment")
    here = trainer(*arguments, names[0])
    there = trainer(*arguments, names[1], "--cluster", cluster.address)
    assert there.code == 0, there.err
    assert f"the folds, one each on 2 workers on the cluster {cluster.address}" in there.err
    assert there.json["metrics"] == here.json["metrics"]
    client = MlflowClient(server)
    (one,), (other,) = (runs_of(client, name) for name in names)
    assert other.data.params == one.data.params
    assert other.data.metrics == one.data.metrics
    # It is the same run to a sweep that looks for finished ones.
    assert other.data.tags["trainer.identity"] == one.data.tags["trainer.identity"]
    histories = [client.get_metric_history(run.info.run_id, "fold_f1") for run in (one, other)]
    assert [metric.value for metric in histories[0]] == [metric.value for metric in histories[1]]
