"""A table that is read in passes judges a model as one in memory does: by the same rows, with the same metrics."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from trainer.config.stream import STREAM, Stream
from trainer.data.dataset import Dataset
from trainer.data.row_chunks import size
from trainer.data.sources import load_data
from trainer.promotion.compared_rows import Load, choose_rows
from trainer.promotion.compared_rows import TestRows as Rows
from trainer.promotion.policy import load_policy
from trainer.promotion.version_scoring import VersionMetrics, VersionScoring, scored
from trainer.scoring.evaluate import EvaluateRequest, evaluate_model
from trainer.training.trained_on import TrainedOn
from trainer.util.errors import InputError

from ..scoring.scoring_files import Saved, save

pytestmark = pytest.mark.process

WAYS: tuple[Stream, ...] = tuple(way for way in STREAM if way != "auto")


@pytest.fixture(scope="module")
def gaps(table: pd.DataFrame) -> pd.DataFrame:
    """Rows with missing values in a column of each kind, in the first chunks only."""
    rng = np.random.default_rng(3)
    member = pd.Series(rng.random(len(table)) < 0.5).astype(object)
    changed = table.assign(member=member, w=rng.uniform(0.5, 4, len(table)), visitor=rng.integers(0, 200, len(table)))
    for name in ("member", "month", "exit_rate"):
        changed.loc[changed.index[:40:3], name] = None
    return changed


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the table read in many chunks."""
    monkeypatch.setattr(size, "BLOCK", 2_000)


def loader(path: Path, stream: Stream, **roles: Any) -> Load:
    """Return what reads a file as a model was trained on it."""

    def load(trained: TrainedOn | None) -> Dataset:
        assert trained is not None
        how = {"seed": trained.seed, "test_size": trained.test_size, "column_types": trained.column_types}
        return load_data(path, target="purchase", stream=stream, **how, **roles)  # type: ignore[arg-type]

    return load


def judged(test: Rows, version: Path, champion: Path, folder: Path) -> list[VersionMetrics]:
    """Return the metrics of a version, and of both on the rows that are new to both."""
    scoring = VersionScoring(folder, load_policy(), test)
    try:
        scoring.start(version, champion)
        outcome, other = scoring.results()
    finally:
        scoring.end()
    assert test.common is not None
    return [scored(outcome, test, test.version), scored(outcome, test, test.common), scored(other, test, test.common)]


@pytest.fixture(scope="module")
def models(gaps: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Saved, Saved]:
    """Return a table, and two models of different splits of it."""
    folder = tmp_path_factory.mktemp("passes")
    gaps.to_csv(folder / "shop.csv", index=False)
    options: dict[str, Any] = {"target": "purchase", "weight": "w", "test_size": 0.4}
    saved = [save(load_data(folder / "shop.csv", seed=seed, **options), folder / f"m{seed}") for seed in (7, 8)]
    return folder / "shop.csv", saved[0], saved[1]


@pytest.mark.usefixtures("warm_sandbox")
@pytest.mark.parametrize("change", ["same", "shuffled"])
def test_promotion_judges_alike(
    models: tuple[Path, Saved, Saved], gaps: pd.DataFrame, tmp_path: Path, change: str
) -> None:
    """On the data of the training, and on other data that holds the same rows: no training row is among those."""
    path, version, champion = models
    if change == "shuffled":
        path = tmp_path / "other.csv"
        gaps.sample(frac=1, random_state=2).to_csv(path, index=False)
    tests, found = [], []
    for way in WAYS:
        load = loader(path, way, weight="w")
        tests.append(choose_rows(load, version.folder, champion.folder, compare=True, unseen=True))
        (tmp_path / way).mkdir()
        found.append(judged(tests[-1], version.folder, champion.folder, tmp_path / way))
    streamed, held = tests
    assert not streamed.table.held
    assert held.table.held
    assert streamed.common is not None
    assert held.common is not None
    np.testing.assert_array_equal(streamed.version.positions, held.version.positions)
    np.testing.assert_array_equal(streamed.common.positions, held.common.positions)
    assert 0 < len(held.common.positions) < len(held.version.positions)
    assert [asdict(one) for one in found[0]] == [asdict(one) for one in found[1]]
    assert [one.problem for one in found[0]] == [None] * 3
    whole = pd.concat(list(streamed.table.take(streamed.version.positions).parts()), ignore_index=True)
    known = set(map(str, version.dataset.train.features.itertuples(index=False)))
    assert not known & set(map(str, whole.itertuples(index=False)))


@pytest.mark.parametrize(
    ("target", "roles"), [("purchase", {"weight": "w"}), ("exit_rate", {"group": "visitor"}), ("label", {})], ids=str
)
def test_evaluation_is_the_same(gaps: pd.DataFrame, tmp_path: Path, target: str, roles: dict[str, str]) -> None:
    """Of each task, on the data of the training and on other data, with weights and with groups."""
    rows = gaps.dropna(subset=["exit_rate"]) if target == "exit_rate" else gaps
    rows = rows.assign(label=np.array(["low", "mid", "high"])[np.arange(len(rows)) % 3]) if target == "label" else rows
    unused = [name for name in ("w", "visitor") if name not in roles.values()]
    rows.to_parquet(tmp_path / "shop.parquet", index=False)
    rows.sample(frac=1, random_state=2).to_csv(tmp_path / "other.csv", index=False)
    dataset = load_data(tmp_path / "shop.parquet", target=target, drop=unused, **roles)  # type: ignore[arg-type]
    model = save(dataset, tmp_path / "model")
    for name, more in (("shop.parquet", {}), ("other.csv", {}), ("other.csv", {"all_rows": True})):
        done = [evaluated(model, tmp_path / name, stream=way, **more) for way in WAYS]
        assert [way for way, one in zip(WAYS, done, strict=True) if "in passes" in str(one.warnings)] == ["always"]
        streamed, held = ({**asdict(one), "warnings": ()} for one in done)
        assert streamed == held


def evaluated(model: Saved, path: Path, **more: Any) -> Any:
    return evaluate_model(EvaluateRequest(str(model.folder), path, **more))


def test_size_decides_for_a_model(models: tuple[Path, Saved, Saved], monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the option, a table that would not fit is read in passes, and one line says so."""
    path, version, _ = models
    assert "in passes" not in str(evaluated(version, path).warnings)
    monkeypatch.setattr("trainer.data.stream_choice.memory", lambda: 1 << 10)
    (line,) = (line for line in evaluated(version, path).warnings if "in passes" in line)
    assert "it would take about 0.0 GiB of memory" in line


def test_lacking_column_is_one_line(models: tuple[Path, Saved, Saved], gaps: pd.DataFrame, tmp_path: Path) -> None:
    gaps.drop(columns="month").to_csv(tmp_path / "less.csv", index=False)
    said = []
    for way in WAYS:
        with pytest.raises(InputError, match="lacks columns that the model takes: month") as refused:
            evaluated(models[1], tmp_path / "less.csv", stream=way)
        said.append(str(refused.value))
    assert said[0] == said[1]


@pytest.mark.usefixtures("warm_sandbox")
def test_table_that_changes_judges_nothing(
    models: tuple[Path, Saved, Saved], gaps: pd.DataFrame, tmp_path: Path
) -> None:
    """A file that is replaced between two passes ends the promotion: no part of the rows stands for all of them."""
    path = tmp_path / "shop.csv"
    gaps.to_csv(path, index=False)
    test = choose_rows(
        loader(path, "always", weight="w"), models[1].folder, models[2].folder, compare=True, unseen=True
    )
    gaps.iloc[:400].to_csv(path, index=False)
    with pytest.raises(InputError, match=r"shop\.csv: has changed while it was read"):
        judged(test, models[1].folder, models[2].folder, tmp_path)


def test_commands_take_the_option(models: tuple[Path, Saved, Saved], trainer: Callable[..., Any]) -> None:
    path, version, _ = models
    shown = trainer("evaluate", "--model", version.folder, "--data", path, "--stream", "always")
    assert shown.code == 0, shown.err
    assert f"{path}: is read in passes, and not held in memory (--stream always)" in shown.err
    assert "--stream" in trainer("promote", "--help").out
