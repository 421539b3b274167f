"""The plots of several classes and of numbers: what they count, and that their texts stay apart."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.transforms import Bbox
from trainer import plots
from trainer.config.variant import make_variant
from trainer.data.dataset import Dataset
from trainer.plots import class_confusion, class_curves, residuals
from trainer.plots.run_plots import PLOTS, write_run_plots
from trainer.plots.style import Heading
from trainer.training.fit import fit_variant
from trainer.training.multiclass_metrics import metrics_of

HEADING = Heading("n_estimators=500 learning_rate=0.025", "table, 2,000 test rows")


def rows_of(classes: int, rows: int = 2_000) -> tuple[Any, Any]:
    """Return targets and probabilities of classes that are told apart more or less."""
    rng = np.random.default_rng(classes)
    target = rng.integers(0, classes, rows)
    scores = rng.random((rows, classes))
    scores[np.arange(rows), target] += rng.random(rows) * 1.5
    return target, scores / scores.sum(axis=1, keepdims=True)


def texts(figure: Any) -> Iterator[Any]:
    for axes in figure.axes:
        yield from (text for text in axes.texts if text.get_text())
    yield from figure.texts


def boxes(figure: Any) -> list[tuple[str, Bbox]]:
    figure.canvas.draw()
    renderer = figure.canvas.get_renderer()
    return [(text.get_text(), text.get_window_extent(renderer)) for text in texts(figure)]


@pytest.mark.slow
@pytest.mark.parametrize("count", [3, 12, 20, 45])
def test_confusion_matrix_is_readable(count: int) -> None:
    """No text covers another or leaves the picture, however long the names are."""
    target, scores = rows_of(count)
    names = [f"a rather long name of a class, number {code}" if code % 3 else f"c{code}" for code in range(count)]
    figure: Any = plots.draw(
        class_confusion.class_confusion(target, scores, names, metrics_of(target, scores), HEADING)
    )
    found = boxes(figure)
    width, height = figure.canvas.get_width_height()
    for place, (text, box) in enumerate(found):
        assert box.x0 >= 0, text
        assert box.y0 >= 0, text
        assert box.x1 <= width, text
        assert box.y1 <= height, text
        for other, its in found[place + 1 :]:
            assert not box.shrunk(0.9, 0.8).overlaps(its.shrunk(0.9, 0.8)), (text, other)


def test_confusion_matrix_counts_rows() -> None:
    target, scores = rows_of(4, 300)
    counts = class_confusion.class_counts(target, scores.argmax(axis=1), 4)
    assert counts.sum() == 300
    assert counts[2, 1] == int(((target == 2) & (scores.argmax(axis=1) == 1)).sum())
    figure: Any = plots.draw(
        class_confusion.class_confusion(target, scores, "abcd", metrics_of(target, scores), HEADING)
    )
    shown = [text.get_text() for text in figure.axes[0].texts]
    assert all(f"{number:,}" in shown for number in counts[counts > 0])


def test_of_many_classes_the_largest_are_shown() -> None:
    target, scores = rows_of(45)
    names = [f"c{code:02}" for code in range(45)]
    figure: Any = plots.draw(
        class_confusion.class_confusion(target, scores, names, metrics_of(target, scores), HEADING)
    )
    shown = {text.get_text() for text in texts(figure)}
    largest = np.argsort(-np.bincount(target), kind="stable")[:30]
    assert {names[code] for code in largest} == shown & set(names)
    assert "accuracy; the 30 largest of 45 classes" in shown


@pytest.mark.parametrize("draw", [class_curves.class_pr_curves, class_curves.class_roc_curves])
@pytest.mark.parametrize("count", [3, 12])
def test_hardest_classes_are_named(draw: Any, count: int) -> None:
    target, scores = rows_of(count)
    names = [f"c{code:02}" for code in range(count)]
    figure: Any = plots.draw(draw(target, scores, names, metrics_of(target, scores), HEADING))
    legend = [text.get_text() for text in figure.axes[0].texts if "%\nc" in text.get_text()]
    assert len(legend) == min(count, 6)
    areas = [float(text.partition("%")[0]) for text in legend]
    assert areas == sorted(areas)
    others = [text.get_text() for text in figure.axes[0].texts if "other classes" in text.get_text()]
    assert len(others) == (1 if count > 6 else 0)


def test_error_band_is_of_all_rows() -> None:
    rng = np.random.default_rng(1)
    predicted = rng.normal(size=1_000)
    error = rng.normal(size=1_000)
    middles, quantiles = residuals.error_band(predicted, error)
    assert len(middles) == residuals.BINS
    assert np.all(np.diff(middles) > 0)
    assert np.all(np.diff(quantiles, axis=1) > 0)
    lowest = np.argsort(predicted)[:50]
    np.testing.assert_array_equal(quantiles[0], np.quantile(error[lowest], (0.05, 0.5, 0.95)))


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e9])
def test_plots_of_numbers_of_any_size(scale: float) -> None:
    rng = np.random.default_rng(2)
    target = rng.normal(size=5_000) * scale
    predicted = target + rng.normal(size=5_000) * scale / 3
    metrics = {"r2": 0.9, "rmse": scale / 3}
    for draw in (residuals.predicted_actual, residuals.residuals):
        figure: Any = plots.draw(draw(target, predicted, metrics, HEADING))
        assert any("3,000 of 5,000 rows drawn" in text.get_text() for text in texts(figure))
        assert all(box.x0 >= 0 for _, box in boxes(figure))


@pytest.mark.parametrize("name", ["classes", "numbers"])
def test_runs_plots_are_written(request: pytest.FixtureRequest, tmp_path: Path, name: str) -> None:
    dataset: Dataset = request.getfixturevalue(name)
    metric: Any = "log_loss" if dataset.classes else "rmse"
    params = make_variant({"n_estimators": 5}).params
    write_run_plots(tmp_path, "tiny", dataset, fit_variant(params, dataset, seed=1, validation_size=0.2, metric=metric))
    names = {*PLOTS[dataset.task], "feature_importance", "learning_curve"}
    assert {path.name for path in (tmp_path / "plots").iterdir()} == {
        f"{name}.{of}" for name in names for of in ("png", "csv")
    }
