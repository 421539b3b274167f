"""How many threads a fit by itself takes: of large tables, as many as processors are free."""

from __future__ import annotations

import os

import pytest
from trainer.config.other_estimator import OtherEstimator
from trainer.config.variant import make_other, make_variant
from trainer.data.dataset import Dataset
from trainer.parallel import fit_threads
from trainer.parallel.fit_threads import free_cpus, threads_alone


@pytest.fixture
def four(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give this process four processors, on which nothing runs."""
    monkeypatch.setattr(fit_threads, "available_cpus", lambda: 4)
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    monkeypatch.setattr(os, "getloadavg", lambda: (0.0, 0.0, 0.0))


@pytest.mark.usefixtures("four")
def test_only_large_tables_take_several(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    variant, cells = make_variant({}), dataset.train.rows * len(dataset.column_types)
    assert threads_alone(variant, dataset) == 1
    monkeypatch.setattr(fit_threads, "LARGE", cells + 1)
    assert threads_alone(variant, dataset) == 1
    monkeypatch.setattr(fit_threads, "LARGE", cells)
    assert threads_alone(variant, dataset) == 4
    # Another's estimator has one thread, whatever the table.
    assert threads_alone(make_other(OtherEstimator("sklearn.dummy:DummyClassifier")), dataset) == 1


@pytest.mark.usefixtures("four")
@pytest.mark.parametrize(("load", "threads"), [(0.0, 4), (1.0, 4), (2.2, 3), (3.8, 1), (20.0, 1)])
def test_busy_processors_are_left_out(load: float, threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getloadavg", lambda: (load, 0.0, 0.0))
    assert free_cpus() == threads


@pytest.mark.usefixtures("four")
def test_limit_of_the_container_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fit_threads, "available_cpus", lambda: 2)
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setattr(os, "getloadavg", lambda: (40.0, 0.0, 0.0))
    assert free_cpus() == 2
