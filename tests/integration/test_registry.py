"""A sweep registers its best model on the server, and promotion from the trainer's container moves the champion."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import mlflow
import pytest
from mlflow import MlflowClient
from trainer.data import demo
from trainer.data.demo import generate_sessions

from .stack import Stack

MODEL = "purchase_predict"


@pytest.fixture
def second(stack: Stack, sweep: dict[str, Any]) -> dict[str, Any]:
    """A further version, of a baseline run."""
    assert sweep["registered"]["version"]
    registered: dict[str, Any] = stack.train("--register")["registered"]
    return registered


@pytest.fixture
def no_champion(client: MlflowClient, sweep: dict[str, Any]) -> Iterator[None]:
    """The registered model without an alias, before and after."""
    client.delete_registered_model_alias(MODEL, "champion")
    yield
    client.delete_registered_model_alias(MODEL, "champion")


def champion(client: MlflowClient) -> str | None:
    aliases: dict[str, str] = client.get_registered_model(MODEL).aliases
    return aliases.get("champion")


def test_sweep_registered_its_best_model_in_postgres(stack: Stack, client: MlflowClient, sweep: dict[str, Any]) -> None:
    registered = sweep["registered"]
    version = client.get_model_version(MODEL, registered["version"])
    assert version.run_id == sweep["best_run_id"]
    (row,) = stack.sql(
        "SELECT run_id FROM model_versions WHERE name = %s AND version = %s", MODEL, int(registered["version"])
    )
    assert row == [sweep["best_run_id"]]
    best = next(one for one in sweep["variants"] if one["run_id"] == sweep["best_run_id"])
    assert float(version.tags["test.average_precision"]) == best["metrics"]["average_precision"]
    model = mlflow.pyfunc.load_model(registered["uri"])
    assert len(model.predict(generate_sessions(rows=5, seed=1).drop(columns=demo.TARGET))) == 5


def test_repeated_sweep_registers_nothing_new(stack: Stack, client: MlflowClient, sweep: dict[str, Any]) -> None:
    before = len(client.search_model_versions(f"name = '{MODEL}'"))
    again = stack.train("sweep")
    assert again["registered"] == {**sweep["registered"], "created": False}
    assert len(client.search_model_versions(f"name = '{MODEL}'")) == before


def test_promotion_and_rollback_in_the_container(
    stack: Stack, client: MlflowClient, sweep: dict[str, Any], second: dict[str, Any], no_champion: None
) -> None:
    first = sweep["registered"]["version"]
    version = second["version"]
    strict, lenient = stack.data / "strict.yaml", stack.data / "lenient.yaml"
    # How long predictions take is not asked of a machine that runs tests.
    strict.write_text("{minimum: {f1: 0.99, roc_auc: 0.999}, latency_ms: false}")
    lenient.write_text("{champion: {average_precision: 0.5, f1: 0.5}, latency_ms: 5000}")
    try:
        done = stack.run_trainer("promote", "--version", first, "--policy", "/data/lenient.yaml", "--json")
        assert done.returncode == 0, done.stderr
        result = json.loads(done.stdout)
        assert all(one["passed"] for one in result["constraints"])
        # The trainer's data are the generated sessions here: scored anew, not taken over.
        assert result["metrics"]["source"].startswith("scored here on 2,400 test rows")
        assert champion(client) == first
        # All constraints checked; on a machine with nothing else to do the bound is 15 s.
        assert result["seconds"] < 60

        refused = stack.run_trainer("promote", second["uri"], "--policy", "/data/strict.yaml", "--logged")
        assert refused.returncode == 3
        named = [line for line in refused.stderr.splitlines() if line.startswith("trainer: not satisfied: ")]
        assert [line.split(": ")[2] for line in named][:2] == ["f1", "roc_auc"]
        assert champion(client) == first

        moved = stack.run_trainer("promote", "--policy", "/data/lenient.yaml")
        assert moved.returncode == 0, moved.stderr
        assert champion(client) == version
    finally:
        for file in (strict, lenient):
            file.unlink()
    tags = client.get_model_version(MODEL, version).tags
    assert tags["trainer.previous_champion"] == first
    back = stack.run_trainer("promote", "--rollback")
    assert back.returncode == 0, back.stderr
    assert champion(client) == first
    trail = {key: value for key, value in client.get_registered_model(MODEL).tags.items() if "trainer.champion" in key}
    assert [json.loads(trail[key])["kind"] for key in sorted(trail)] == ["promotion", "promotion", "rollback"]
