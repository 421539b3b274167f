"""Contributions of features: LightGBM's own, stable in their order, and drawn with their rows and their margin."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from trainer import plots
from trainer.config.variant import complete_params
from trainer.data.dataset import Dataset
from trainer.data.sources import load_data
from trainer.plots.contribution_values import Contributions, measure_contributions, spread_rows
from trainer.training.fit import FitResult, fit_variant

HEADING = plots.Heading("n_estimators=30 early_stopping_round=3", "some data, 400 test rows")
#: What the help of ``--explain`` says is enough.
ENOUGH = 1_000


def figure_of(measure: Callable[..., plots.Content | None], *args: Any) -> Any:
    """Return the figure of a plot."""
    content = measure(*args)
    assert content is not None
    return plots.draw(content)


def fit(dataset: Dataset, **params: Any) -> FitResult:
    return fit_variant(complete_params(params), dataset, seed=5, validation_size=0.25)


def measured(dataset: Dataset, fitted: FitResult, rows: int) -> Contributions:
    return measure_contributions(fitted.model.estimator_.estimator, dataset.test.rows_at, fitted.probability, rows)


def table_of_numbers(rows: int) -> pd.DataFrame:
    rng = np.random.default_rng(3)
    features = rng.normal(size=(rows, 14))
    features[:, 5:8] += features[:, :3]
    score = features @ np.geomspace(1.5, 0.05, 14) + features[:, 0] * features[:, 1]
    table = pd.DataFrame(features, columns=[f"x{n}" for n in range(14)])
    return table.assign(y=(score + rng.logistic(size=rows) > 1).astype(int))


def table_of_many_kinds(rows: int) -> pd.DataFrame:
    rng = np.random.default_rng(4)
    table = pd.DataFrame({f"t{n}": rng.choice(list("abcdef"), rows) for n in range(4)})
    for n in range(10):
        table[f"x{n}"] = rng.lognormal(size=rows)
        table.loc[rng.random(rows) < 0.05 * n, f"x{n}"] = np.nan
    score = sum((0.8**n) * np.log(table[f"x{n}"].fillna(3.0)) for n in range(10))
    score = score + 1.2 * table["t0"].isin(["a", "b"]) - 0.9 * table["t1"].eq("c")
    return table.assign(y=(score + rng.logistic(size=rows) > 1.5).astype(int))


@pytest.fixture(scope="module", params=["sessions", "numbers", "many kinds"])
def data(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    if request.param == "sessions":
        return load_data(rows=9_000, test_size=0.5)
    file = tmp_path_factory.mktemp("tables") / "table.csv"
    make = table_of_numbers if request.param == "numbers" else table_of_many_kinds
    make(9_000).to_csv(file, index=False)
    return load_data(file, target="y", test_size=0.5)


@pytest.mark.slow
def test_enough_rows_give_the_shares_of_all(data: Dataset) -> None:
    """On three data sets, each of the ten first features is within 10 % of its share on all rows.

    Two features change places only where their shares on all rows are closer than that.
    """
    fitted = fit(data, n_estimators=60, num_leaves=15)
    few, every = measured(data, fitted, ENOUGH), measured(data, fitted, len(data.test.features))
    assert (len(few.rows), len(every.rows)) == (ENOUGH, 4_500)
    share, whole = few.mean / few.mean.sum(), every.mean / every.mean.sum()
    first = np.argsort(-whole)[:10]
    assert share[first] == pytest.approx(whole[first], rel=0.1)
    assert whole[np.argsort(-share)[:10]] == pytest.approx(whole[first], rel=0.1)


def test_margin_holds_the_mean_of_all_rows(data: Dataset) -> None:
    """The stated margins of 95 % hold the means of all rows for nearly all features, and are not far too wide."""
    fitted = fit(data, n_estimators=20, num_leaves=8)
    few, every = measured(data, fitted, 400), measured(data, fitted, 4_500)
    used = every.mean > 0
    off = np.abs(few.mean - every.mean)[used] / few.margin[used]
    assert np.mean(off <= 1) >= 0.8
    assert off.max() > 0.05
    assert not every.margin.any()


@pytest.mark.parametrize("more", [{}, {"boosting_type": "rf", "subsample": 0.5, "subsample_freq": 1}])
def test_contributions_add_up_to_the_score(dataset: Dataset, more: dict[str, Any]) -> None:
    """Base and contributions are the log-odds of each row's probability, for a forest too."""
    fitted = fit(dataset, n_estimators=12, num_leaves=8, **more)
    found = measured(dataset, fitted, 10**9)
    probability = fitted.probability[found.rows]
    np.testing.assert_allclose(found.base + found.values.sum(axis=1), np.log(probability / (1 - probability)))
    assert set(found.names) == set(dataset.column_types)


def test_rows_are_spread_over_the_scores() -> None:
    probability = np.random.default_rng(0).random(1_000)
    rows = spread_rows(probability, 100)
    assert len(set(rows.tolist())) == 100
    assert np.bincount((probability[rows] * 10).astype(int), minlength=10) == pytest.approx([10] * 10, abs=3)
    np.testing.assert_array_equal(spread_rows(probability, 5_000), np.arange(1_000))


@pytest.mark.slow
def test_files_hold_what_was_measured(dataset: Dataset, tmp_path: Path) -> None:
    """The table has a line a row, with the values and the contributions of its features; the plot is a plot."""
    fitted = fit(dataset, n_estimators=12, num_leaves=8)
    plots.write_run_plots(tmp_path, "baseline", dataset, fitted, "light", 100)
    table, found = pd.read_csv(tmp_path / "contributions.csv"), measured(dataset, fitted, 100)
    assert list(table["row"]) == list(found.rows)
    shown = table[[f"shap_{name}" for name in found.names]].to_numpy()
    np.testing.assert_array_equal(shown, found.values)
    np.testing.assert_array_equal(table["probability"], fitted.probability[found.rows])
    pages = table["value_product_pages"].to_numpy(dtype=float)
    np.testing.assert_array_equal(pages, dataset.test.features["product_pages"].to_numpy(dtype=float)[found.rows])
    with Image.open(tmp_path / "plots" / "contributions.png") as picture:
        assert picture.size == (960, 720)
        assert len(np.unique(np.asarray(picture.convert("RGB")).reshape(-1, 3), axis=0)) > 50


def made(rows: int, total: int, features: int = 14) -> Contributions:
    rng = np.random.default_rng(1)
    values = rng.normal(size=(rows, features)) * np.geomspace(2, 0.01, features)
    names = [f"a column with a very long name, number {n}" for n in range(features)]
    return Contributions(names, np.arange(rows), total, values, values.copy(), -1.0)


@pytest.mark.parametrize(
    ("rows", "total", "said"),
    [
        (100, 61_503, "100 of 61,503 test rows, ± 95%"),
        (400, 400, "exact for all 400 test rows"),
        (3_000, 3_000, "2,000 rows drawn"),
        (61_502, 61_503, "61,502 of 61,503 test rows, ± 95%"),
    ],
)
def test_plot_says_its_rows_and_its_margin(rows: int, total: int, said: str) -> None:
    """The plot says on how many rows it rests and how sure it is, and its texts stay clear of each other."""
    figure: Any = figure_of(plots.contributions, made(rows, total), HEADING)
    figure.canvas.draw()
    swarm, bars = figure.axes
    labels = [text for axes in (swarm, bars) for text in axes.texts]
    assert said in "\n".join(text.get_text() for text in labels)
    assert any("±" in text.get_text() and "%" in text.get_text() for text in bars.texts[:-1]) == (rows < total)
    assert len(swarm.collections) == 12
    places = [text.get_window_extent(figure.canvas.get_renderer()) for text in [*figure.texts, *labels]]
    assert not any(one.overlaps(other) for n, one in enumerate(places) for other in places[:n])
    assert all(figure.bbox.x0 <= place.x0 and place.x1 <= figure.bbox.x1 for place in places)


def test_worthless_and_missing_can_be_drawn(tmp_path: Path) -> None:
    """A model that splits on nothing, on a single column without values, can be drawn."""
    nothing = Contributions(["$x$"], np.arange(3), 9, np.zeros((3, 1)), np.full((3, 1), np.nan), 0.0)
    plots.save(figure_of(plots.contributions, nothing, HEADING), tmp_path / "x.png")
    assert (tmp_path / "x.png").stat().st_size > 0
