"""The option --config: what it takes and refuses, and that each run's config.yaml repeats the run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
import yaml
from trainer.data.sources import load_data

from ..conftest import Answer

Trainer = Callable[..., Answer]


@pytest.fixture
def shop(workdir: Path, table: pd.DataFrame) -> Path:
    """Write a table with a column for each role."""
    rng = np.random.default_rng(4)
    more = {"w": rng.uniform(0.5, 2, len(table)), "day": rng.permutation(len(table)), "who": np.arange(len(table)) // 3}
    bought = table["purchase"].astype(str).str.lower().isin(("true", "1"))
    named = table.assign(**more, purchase=np.where(bought, "buys", "leaves"))
    named.to_csv("shop.csv", index=False, sep=";", decimal=",")
    return workdir


def config_of(run_id: str, name: str = "config.yaml") -> Path:
    mlflow.set_tracking_uri(f"sqlite:///{Path.cwd()}/mlflow.db")
    return Path(mlflow.artifacts.download_artifacts(run_id=run_id, artifact_path=name))


def run_of(run_id: str) -> Any:
    return mlflow.MlflowClient(f"sqlite:///{Path.cwd()}/mlflow.db").get_run(run_id).data


def answers_digest(run_id: str) -> str:
    """Return the digest of what a run's model says to rows that are hard to answer."""
    mlflow.set_tracking_uri(f"sqlite:///{Path.cwd()}/mlflow.db")
    metadata = mlflow.models.get_model_info(f"runs:/{run_id}/model").metadata
    assert metadata is not None
    return str(metadata["answers_digest"])


GIVEN = ("--data", "shop.csv", "--target", "purchase", "--positive", "buys", "--separator", ";", "--decimal", ",")
LIGHT = ("--n-estimators", 9, "--num-leaves", 5, "--json")


@pytest.mark.parametrize(
    "options",
    [
        (),
        (*GIVEN, "--drop", "w,who,day", "--categorical", "region,device", "--monotone", "exit_rate=-1,page_value=+1"),
        (*GIVEN, "--weight", "w", "--group", "who", "--cv", 3, "--metric", "f1", "--seed", 7, "--learning-rate", 1e-05),
        (*GIVEN, "--time", "day", "--threshold", "cost:FP=1,FN=5", "--class-weight", "balanced", "--test-size", 0.3),
        (
            *GIVEN,
            "--test",
            "shop.csv",
            "--explain",
            100,
            "--plot-style",
            "dark",
            "--missing",
            "?,-",
            "--not-missing",
            "NA",
            "--threshold",
            0.25,
        ),
        (*GIVEN, "--validation-size", 0.35, "--is-unbalance", "--early-stopping-round", 3),
    ],
)
def test_artifact_repeats_the_run(shop: Path, trainer: Trainer, options: tuple[Any, ...]) -> None:
    first = trainer("train", *options, *LIGHT)
    assert first.code == 0, first.err
    again = trainer("--config", config_of(first.json["run_id"]), "--json")
    assert again.code == 0, again.err
    assert again.json["metrics"] == first.json["metrics"]
    before, after = run_of(first.json["run_id"]), run_of(again.json["run_id"])
    assert after.params == before.params
    assert after.tags["trainer.identity"] == before.tags["trainer.identity"]
    assert answers_digest(again.json["run_id"]) == answers_digest(first.json["run_id"])
    assert config_of(again.json["run_id"]).read_text() == config_of(first.json["run_id"]).read_text()


def test_artifact_of_a_sweep_repeats_it(shop: Path, trainer: Trainer) -> None:
    """A variant's file repeats the variant, the parent's all of them, with nothing to train anew."""
    given = ("sweep", *GIVEN, "--drop", "w,who,day", "--json", "--no-register", "--max-depth", 4)
    first = trainer(*given, "--grid", "n_estimators=5,6", "--paired", "class_weight=none,balanced")
    assert first.code == 0, first.err
    again = trainer("sweep", "--config", config_of(first.json["run_id"]), "--json", "--no-register")
    assert again.code == 0, again.err
    keys = ("name", "run_id", "status")
    assert [[one[key] for key in keys] for one in again.json["variants"]] == [
        [one[key] for key in keys] for one in first.json["variants"]
    ]
    assert "4 of 4 variants finished before" in again.err
    one = first.json["variants"][3]
    alone = trainer("train", "--config", config_of(one["run_id"]), "--json")
    assert alone.json["metrics"] == one["metrics"]


@pytest.mark.parametrize(
    ("task", "options"),
    [("multiclass", ("--metric", "f1_macro", "--class-weight", "balanced")), ("regression", ("--metric", "mae"))],
)
def test_artifact_keeps_a_task_that_was_named(
    shop: Path, trainer: Trainer, table: pd.DataFrame, task: str, options: tuple[str, ...]
) -> None:
    """Few whole numbers as amounts, many as classes: the values alone would be taken for the other task."""
    scores = np.arange(len(table)) % (24 if task == "multiclass" else 9)
    pd.read_csv("shop.csv", sep=";", decimal=",").assign(score=scores).to_csv("scores.csv", index=False)
    columns = ("--drop", "purchase,day", "--weight", "w", "--group", "who", "--monotone", "exit_rate=-1")
    given = ("--data", "scores.csv", "--target", "score", "--task", task, *columns, "--cv", 2, *options, "--json")
    light = ("--n-estimators", 3, "--num-leaves", 4)
    first = trainer("train", *given, *light)
    assert first.code == 0, first.err
    again = trainer("--config", config_of(first.json["run_id"]), "--json")
    assert again.code == 0, again.err
    assert again.json["metrics"] == first.json["metrics"]
    assert run_of(again.json["run_id"]).params == run_of(first.json["run_id"]).params
    sweep = trainer("sweep", *given, *light, "--grid", "max_depth=2,3", "--no-register", "--jobs", 1)
    assert sweep.code == 0, sweep.err
    same = trainer("sweep", "--config", config_of(sweep.json["run_id"]), "--no-register", "--json")
    assert "2 of 2 variants finished before" in same.err


def test_artifact_of_a_search_repeats_it(shop: Path, trainer: Trainer) -> None:
    Path("space.yaml").write_text(
        "num_leaves: {low: 4, high: 16, log: true}\nclass_weight: [none, balanced]\n"
        "n_estimators: {low: 4, high: 8, step: 2}\n"
        "subsample: {low: 0.5, high: 1.0}\nsubsample_freq: 1\n"
    )
    given = ("search", *GIVEN, "--space", "space.yaml", "--jobs", 1, "--no-register", "--pruner", "none", "--json")
    first = trainer(*given, "--trials", 3, "--storage", "one.journal")
    assert first.code == 0, first.err
    config = config_of(first.json["run_id"], "after_3_trials/config.yaml")
    again = trainer("search", "--config", config, "--jobs", 1, "--storage", "two.journal", "--no-register", "--json")
    assert again.code == 0, again.err
    assert [one["metrics"] for one in again.json["variants"]] == [one["metrics"] for one in first.json["variants"]]


def test_command_line_goes_before_the_file(workdir: Path, trainer: Trainer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command line, then the file, then variables, then defaults."""
    Path("run.yaml").write_text("num_leaves: 5\nmax-depth: 3\nseed: 9\nn_estimators: 4\nis_unbalance: true\n")
    monkeypatch.setenv("TRAINER_SEED", "8")
    monkeypatch.setenv("TRAINER_LEARNING_RATE", "0.5")
    answer = trainer("--config", "run.yaml", "--num-leaves", 6, "--no-is-unbalance", "--json")
    assert answer.code == 0, answer.err
    params = run_of(answer.json["run_id"]).params
    found = {name: params[name] for name in ("num_leaves", "max_depth", "seed", "learning_rate", "is_unbalance")}
    assert found == {"num_leaves": "6", "max_depth": "3", "seed": "9", "learning_rate": "0.5", "is_unbalance": "False"}


def test_nothing_in_the_file_is_nothing(shop: Path, trainer: Trainer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A null is as if the option were not given, whatever a variable says."""
    Path("run.yaml").write_text("data: null\nn_estimators: 4\n")
    monkeypatch.setenv("TRAINER_DATA", "nowhere.csv")
    answer = trainer("--config", "run.yaml")
    assert answer.code == 0, answer.err
    assert "generated web-shop sessions" in answer.err


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("eta: 0.1", "trainer train has no option 'eta'; did you mean 'learning_rate'?"),
        ("rows: 5", "trainer train has no option 'rows'; trainer train --help lists its options"),
        ("num_leafs: 5", "run.yaml, line 1: trainer train has no option 'num_leafs'; did you mean 'num_leaves'?"),
        ("seed: 1\ntrials: 5", "run.yaml, line 2: trainer train has no option 'trials'"),
        ("num_leaves: many", "run.yaml, line 1: --num-leaves: 'many' is not allowed; it must be"),
        ("num_leaves: [5, 6]", "run.yaml, line 1: num_leaves is a list; it takes one value"),
        ("num_leaves: true", "run.yaml, line 1: num_leaves is true or false; it takes another value"),
        ("positive: yes", "a word such as yes needs quotes"),
        ("is_unbalance: 1", "run.yaml, line 1: is_unbalance is a number; it takes true or false"),
        ("monotone: [age]", "run.yaml, line 1: monotone is a list; it takes a mapping"),
        ("monotone: {age: 2}", "run.yaml, line 1: --monotone: age is 2; write 1 or -1"),
        ("drop: {a: 1}", "run.yaml, line 1: drop is a mapping; it takes a list"),
        ("cv: 1", "run.yaml, line 1: "),
        ("test_size: 2", "run.yaml, line 1: --test-size: '2' is not allowed"),
        ("- seed: 1", "run.yaml: holds a list; write a mapping such as 'num_leaves: 31' (--config)"),
        ("seed: 1\nseed: 2", "seed is given twice"),
        ("seed: [", "is not valid YAML"),
        ("config: run.yaml", "has no option 'config'"),
    ],
)
def test_wrong_file_is_one_line(workdir: Path, trainer: Trainer, content: str, words: str) -> None:
    Path("run.yaml").write_text(content + "\n")
    answer = trainer("train", "--config", "run.yaml")
    assert answer.code == 2
    assert words in answer.error
    assert trainer("--config", "none.yaml").error == "none.yaml: no such file (--config)"


def test_lists_and_mappings_of_a_file(shop: Path, trainer: Trainer) -> None:
    """Several columns are a list or a text with commas, a sweep's variants and a search's space may stand inside."""
    Path("run.yaml").write_text(
        yaml.safe_dump(
            {
                **dict(zip((name[2:] for name in GIVEN[::2]), GIVEN[1::2], strict=True)),
                "drop": ["w", "who"],
                "categorical": "region, day",
                "monotone": {"exit_rate": -1},
                "n_estimators": 4,
                "variants": [{"num_leaves": 4}, {"name": "more", "num_leaves": 6}],
            }
        )
    )
    answer = trainer("sweep", "--config", "run.yaml", "--no-register", "--json")
    assert answer.code == 0, answer.err
    assert [one["name"] for one in answer.json["variants"]] == ["num_leaves=4", "more"]
    params = run_of(answer.json["variants"][0]["run_id"]).params
    assert params["monotone"] == "exit_rate=-1"
    assert "day" in params["categorical_features"]
    assert load_data(rows=600).dropped == ()
