"""Warnings on data: each command prints those with which it can do something, and knows the options that they name."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import click
import mlflow
import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from trainer.cli.data_warnings import known_options
from trainer.cli.main import command

from ..conftest import Answer

Trainer = Callable[..., Answer]
ROWS = 600


@pytest.fixture
def odd(workdir: Path) -> Path:
    """Write a table that most warnings have something to say on; its target is good or bad."""
    chance = np.random.default_rng(3)
    x = chance.normal(size=ROWS).round(3)
    bad = x + chance.normal(size=ROWS) > 0.3
    table = pd.DataFrame(
        {
            "number": np.arange(ROWS),
            "day": pd.date_range("2024-01-01", periods=ROWS).strftime("%Y-%m-%d"),
            "seconds": 1.7e9 + chance.integers(0, 10_000_000, ROWS),
            "visitor_id": chance.integers(0, 200, ROWS),
            "price": [f"{value:.2f}".replace(".", ",") for value in chance.random(ROWS)],
            "alley": chance.choice(["NA", "paved"], ROWS),
            "copy": np.where(bad, "b", "a"),
            "x": x,
            "y": np.where(bad, "bad", "good"),
        }
    )
    table.to_csv("odd.csv", index=False)
    return Path("odd.csv")


def options_in(lines: str) -> set[str]:
    return set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", lines))


def options_of(name: str) -> set[str]:
    found = command.get_command(click.Context(command), name)
    assert found is not None
    return known_options(found)


def test_warnings_name_options_of_their_command(odd: Path, trainer: Trainer, workdir: Path) -> None:
    """Training names what it can be told; the other commands, which read the same file, do not name its options."""
    data = ("--data", odd, "--target", "y", "--positive", "bad")
    trained = trainer("train", *data, "--n-estimators", 5, "--register", "--json")
    assert trained.code == 0, trained.err
    assert {"--drop", "--time", "--not-missing", "--decimal", "--group"} <= options_in(trained.err)
    uri = trained.json["model_uri"]
    (workdir / "policy.yaml").write_text("{minimum: false, latency_ms: false, champion: false}")
    policy = ("--policy", "policy.yaml")
    ran = {
        "train": trained,
        "sweep": trainer("sweep", *data, "--grid", "n_estimators=5", "--no-register"),
        "promote": trainer("promote", "--data", odd, *policy),
        "evaluate": trainer("evaluate", "--model", uri, "--data", odd),
        "predict": trainer("predict", "--model", uri, "--data", odd, "--out", "scores.csv"),
    }
    for name, answer in ran.items():
        assert answer.code == 0, answer.err
        assert options_in(answer.err) <= options_of(name), name
    # What is of use to them they say.
    assert "(--not-missing NA makes it one)" in ran["promote"].err
    assert "(--not-missing NA makes it one)" in ran["evaluate"].err


def test_foreign_models_data_is_read_without_advice(odd: Path, trainer: Trainer, workdir: Path) -> None:
    """A model that does not say what it was trained on: the data's values tell their types, and nothing is advised."""
    table = pd.read_csv(odd)[["x", "number"]].assign(y=(pd.read_csv(odd)["y"] == "bad").astype(int))
    table.to_csv("plain.csv", index=False)
    model = LogisticRegression().fit(table[["x", "number"]], table["y"])
    with mlflow.start_run():
        mlflow.sklearn.log_model(
            model, name="model", input_example=table[["x", "number"]].head(), registered_model_name="purchase_predict",
            # MLflow would find them out by loading the model in a process of its own.
            pip_requirements=["scikit-learn"],
        )  # fmt: skip
    (workdir / "policy.yaml").write_text(
        json.dumps(dict.fromkeys(("minimum", "latency_ms", "champion", "unseen", "safe_format"), False))
    )
    answer = trainer("promote", "--data", "plain.csv", "--target", "y", "--policy", "policy.yaml")
    assert answer.code == 0, answer.err
    assert "--drop" not in answer.err
    assert options_in(answer.err) <= options_of("promote")


def test_promote_takes_the_target_from_the_model(odd: Path, trainer: Trainer, workdir: Path) -> None:
    """The target, its positive value and the columns' roles are those of the version's own run."""
    frame = pd.read_csv(odd).assign(w=lambda table: 1 + table["x"].abs())
    frame.to_csv(odd, index=False)
    given = ("--positive", "bad", "--weight", "w", "--time", "seconds", "--drop", "copy,number,day,price")
    trained = trainer("train", "--data", odd, "--target", "y", *given, "--n-estimators", 8, "--register", "--json")
    assert trained.code == 0, trained.err
    (workdir / "policy.yaml").write_text("{minimum: false, latency_ms: false}")
    promoted = trainer("promote", "--data", odd, "--policy", "policy.yaml", "--json")
    assert promoted.code == 0, promoted.err
    found = promoted.json["metrics"]["version"]
    assert found == pytest.approx({name: trained.json["metrics"][name] for name in found})
    evaluated = trainer("evaluate", "--model", trained.json["model_uri"], "--data", odd, "--json").json["metrics"]
    assert evaluated == pytest.approx({name: trained.json["metrics"][name] for name in evaluated})
    other = trainer("evaluate", "--model", trained.json["model_uri"], "--data", odd, "--positive", "good", "--json")
    assert other.json["metrics"]["roc_auc"] == pytest.approx(1 - evaluated["roc_auc"])
