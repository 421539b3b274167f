"""Resuming a sweep: what counts as the same variant, and what becomes of those that are skipped."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from trainer.config.parameter import Value
from trainer.config.variant import make_variant
from trainer.data.dataset import Dataset
from trainer.runs import cache_key
from trainer.runs.cache_key import code_digest, run_key
from trainer.runs.plan import Plan
from trainer.runs.resume import finished_runs
from trainer.runs.train import train_run
from trainer.sweeps.sweep import run_sweep
from trainer.training.threshold_rule import parse_threshold_rule
from trainer.util import provenance

from ..conftest import warm_pool

SMALL: dict[str, Value] = {"num_leaves": 6, "n_estimators": 8}


def test_cache_key_ignores_names_and_places(dataset: Dataset, plan: Plan) -> None:
    """Identity is the same for other names and places."""
    one = run_key(make_variant(SMALL), dataset, plan.config)
    other = replace(dataset, name="other", source="elsewhere")
    elsewhere = replace(plan, parent="p", tags={}, destination=replace(plan.destination, uri="x"))
    # The seed that a variant would get anyway makes no difference.
    named = make_variant({**SMALL, "random_state": plan.config.seed}, name="named")
    assert run_key(named, other, elsewhere.config) == one


@pytest.mark.parametrize(
    "change",
    ["params", "seed", "validation_size", "threshold_rule", "folds", "digest", "test_digest", "target", "kinds"],
)
def test_cache_key_covers_what_decides(change: str, dataset: Dataset, plan: Plan) -> None:
    """Identity changes with whatever determines the result."""
    variant = make_variant(SMALL)
    before = run_key(variant, dataset, plan.config)
    if change == "params":
        variant = make_variant({**SMALL, "reg_lambda": 0.5})
    elif change == "seed":
        plan = replace(plan, config=replace(plan.config, seed=6))
    elif change == "validation_size":
        plan = replace(plan, config=replace(plan.config, validation_size=0.3))
    elif change == "threshold_rule":
        plan = replace(plan, config=replace(plan.config, threshold_rule=parse_threshold_rule("recall>=0.9")))
    elif change == "folds":
        plan = replace(plan, config=replace(plan.config, folds=5))
    else:
        dataset = {
            "digest": replace(dataset, digest="other"),
            "test_digest": replace(dataset, test_digest="other"),
            "target": replace(dataset, target="other"),
            # The digest does not tell true from "true".
            "kinds": replace(dataset, column_types=dict.fromkeys(dataset.column_types, "text")),
        }[change]
    assert run_key(variant, dataset, plan.config) != before


@pytest.mark.parametrize("package", sorted(file.parent.name for file in provenance.PACKAGE.glob("*/__init__.py")))
def test_code_counts_by_its_package(package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A change of code that results are made with changes every key; another change keeps what was trained."""
    copy = tmp_path / "trainer"
    shutil.copytree(provenance.PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(cache_key, "PACKAGE", copy)
    before = code_digest.__wrapped__()
    (copy / package / "added_later.py").write_text("x = 1\n")
    counts = package in {"config", "data", "runs", "training", "util"}
    assert (code_digest.__wrapped__() != before) is counts


def test_finished_runs_are_found_and_no_others(dataset: Dataset, plan: Plan) -> None:
    variants = [make_variant({**SMALL, "learning_rate": rate}) for rate in (0.1, 0.2, 0.3)]
    first = train_run(variants[0], dataset, plan)
    again = train_run(variants[0], dataset, plan)
    failed = train_run(variants[1], dataset, plan)
    client = MlflowClient(plan.destination.uri)
    client.set_terminated(str(failed.run_id), "KILLED")
    found = finished_runs(variants, dataset, plan)
    assert list(found) == [0]
    assert found[0].run_id == again.run_id
    assert found[0].score == first.score
    assert found[0].iterations == 8
    assert finished_runs(variants, dataset, replace(plan, config=replace(plan.config, seed=6))) == {}
    client.delete_run(str(again.run_id))
    assert finished_runs(variants, dataset, plan)[0].run_id == first.run_id


def test_only_the_variants_runs_are_asked_for(dataset: Dataset, plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    """Finished runs are found without asking for those of other variants."""
    variants = [make_variant({**SMALL, "n_estimators": count}) for count in (1, 2, 3)]
    trained = [train_run(variant, dataset, plan).run_id for variant in variants]
    answers: list[list[str]] = []
    search = MlflowClient.search_runs

    def count(*args: Any, **options: Any) -> Any:
        page = search(*args, **options)
        answers.append([run.info.run_id for run in page])
        return page

    monkeypatch.setattr(MlflowClient, "search_runs", count)
    wanted = [variants[0], make_variant({**SMALL, "n_estimators": 4})]
    assert [result.run_id for result in finished_runs(wanted, dataset, plan).values()] == trained[:1]
    assert answers == [trained[:1], []]


def test_resumed_sweep_trains_the_rest_and_shows_all(dataset: Dataset, plan: Plan) -> None:
    variants = [make_variant({"learning_rate": rate}, SMALL) for rate in (0.3, 0.01, 0.2)]
    before = train_run(variants[0], dataset, plan)
    reused = finished_runs(variants, dataset, plan)
    done = run_sweep(variants, dataset, plan, warm_pool(2), reused=reused)
    client = MlflowClient(plan.destination.uri)
    assert len(client.search_runs([plan.destination.experiment_id])) == 4
    assert [result.reused for result in done.results] == [True, False, False]
    parent = client.get_run(done.run_id)
    assert parent.data.tags["trainer.reused"] == "1"
    assert parent.data.metrics["f1"] == done.best.metrics["f1"]  # type: ignore[union-attr]
    with Path(client.download_artifacts(done.run_id, "variants.csv")).open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["reused"] for row in rows] == ["yes", "no", "no"]
    assert rows[0]["run_id"] == before.run_id
    assert float(rows[0]["f1"]) == before.metrics["f1"]


def test_same_sweep_twice_trains_once(trainer: Callable[..., Any], workdir: Path) -> None:
    command = ("sweep", "--grid", "learning_rate=0.1,0.3", "--n-estimators", 5, "--jobs", 2, "--json")
    first, second = trainer(*command), trainer(*command)
    assert second.code == 0, second.err
    assert "skipped" not in first.err
    assert "2 of 2 variants finished before" in second.err
    ids = [[variant["run_id"] for variant in answer.json["variants"]] for answer in (first, second)]
    assert ids[0] == ids[1]
    assert first.json["best_run_id"] == second.json["best_run_id"]
    again = trainer(*command, "--again").json
    assert not {variant["run_id"] for variant in again["variants"]} & set(ids[0])
    assert [v["metrics"] for v in again["variants"]] == [v["metrics"] for v in first.json["variants"]]
