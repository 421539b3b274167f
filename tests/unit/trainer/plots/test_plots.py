"""The pictures of a run: they are files of the right size, and what is drawn in them is what was measured."""

from __future__ import annotations

import itertools
import logging
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import sklearn.metrics
from PIL import Image
from trainer import plots
from trainer.config.variant import complete_params
from trainer.data.dataset import Dataset
from trainer.data.sources import load_data
from trainer.plots import calibration, confusion, importance_values, style
from trainer.plots.importance_values import measure_importance
from trainer.training import metrics
from trainer.training.fit import FitResult, fit_variant

HEADING = plots.Heading("baseline", "some data, 400 test rows")
POINT_PICTURES = (plots.pr_curve, plots.roc_curve, plots.confusion_matrix)


def figure_of(measure: Callable[..., plots.Content | None], *args: Any) -> Any:
    """Return the figure of a plot."""
    content = measure(*args)
    assert content is not None
    return plots.draw(content)


def scores(rows: int = 400, seed: int = 0, skill: float = 0.4) -> tuple[Any, Any]:
    rng = np.random.default_rng(seed)
    target = (rng.random(rows) < 0.2).astype(np.int64)
    return target, np.clip(target * skill + rng.random(rows) * (1 - skill), 0, 1)


def point(target: Any, probability: Any, heading: plots.Heading = HEADING) -> tuple[Any, ...]:
    threshold = metrics.best_f1_threshold(target, probability)
    return target, probability, threshold, metrics.metrics_at(target, probability, threshold), heading


def texts(figure: Any) -> str:
    found = [text.get_text() for text in figure.texts]
    for axes in figure.axes:
        found += [text.get_text() for text in axes.texts]
    return "\n".join(found)


def reaches(axes: Any, *, upward: bool = False) -> list[float]:
    return [float(path.vertices[:, int(upward)].max()) for path in axes.collections[0].get_paths()]


def pixels(path: Path) -> Any:
    with Image.open(path) as picture:
        assert (picture.format, picture.size[0]) == ("PNG", 960)
        return np.asarray(picture.convert("RGB"))


def made(count: int = 3, names: list[str] | None = None) -> importance_values.Importance:
    gain, splits = np.arange(count, 0, -1, dtype=np.float64), np.arange(1, count + 1)
    return importance_values.Importance(names or [f"f{n}" for n in range(count)], gain, splits, 500)


@pytest.mark.parametrize("wide", ["特" * 28, "AMT_REQ_CREDIT_BUREAU_MON_WM", "W" * 30])
def test_wide_letters_get_their_room(wide: str) -> None:
    figure: Any = figure_of(plots.feature_importance, made(2, [wide, "ab"]), HEADING)
    name = next(text for text in figure.axes[0].texts if text.get_text().startswith(wide[:3]))
    extent = name.get_window_extent(figure.canvas.get_renderer())
    assert extent.x0 >= 0
    assert extent.width > 0.3 * figure.bbox.width


@pytest.mark.parametrize(
    "name", ["application_train_with_bureau_balance", "APPLICATION_TRAIN_WITH_BUREAU", "訓練" * 20]
)
def test_heading_stays_clear_of_the_figure_beside_it(name: str) -> None:
    figure = style.canvas(plots.Heading(name * 2, f"{name}, 61,503 test rows"), "18 of 120", "features, by gain")
    assert touching(figure) == []
    assert all(float(text.get_fontsize()) > 7 for text in figure.texts)


@pytest.mark.parametrize("merit", ["360,235.4", "77.5%", "-1.2e+09"])
def test_room_is_left_beside_a_heading(merit: str) -> None:
    """However long the heading: the prominent figure is not read as its last digits."""
    for length in range(10, 60):
        figure = style.canvas(
            plots.Heading("n_estimators=100 early_stopping_round=50 num_leaves=15 x"[:length]), merit, "a"
        )
        figure.draw_without_rendering()
        boxes = [text.get_window_extent() for text in figure.texts]
        assert boxes[1].x0 - boxes[0].x1 > 0.015 * figure.bbox.width, length


def test_letters_come_from_a_font_with_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Letters come from the first font that has them."""
    monkeypatch.setattr(style, "FONTS", (*style.FONTS, "No Such Font"))
    style._fonts.cache_clear()
    assert style._fonts()[0] == "DejaVu Sans"
    assert "No Such Font" not in style._fonts()
    style._fonts.cache_clear()


def test_font_without_bold_letters_is_no_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(style, "FONTS", ("DejaVu Sans", "cmr10"))
    style._fonts.cache_clear()
    with caplog.at_level(logging.WARNING):
        plots.save(style.canvas(HEADING, "bold", "normal"), tmp_path / "a.png")
    style._fonts.cache_clear()
    assert caplog.messages == []


# What is drawn --------------------------------------------------------------------------------------------------------


def test_pr_curve_runs_through_all_points() -> None:
    """Pr curve runs through all points of the curve."""
    args = point(*scores())
    precision, recall, _ = sklearn.metrics.precision_recall_curve(*args[:2])
    line: Any = figure_of(plots.pr_curve, *args).axes[0].lines[0]
    drawn = set(zip(line.get_xdata(), line.get_ydata(), strict=True))
    # But those that share a pixel with their neighbour.
    assert drawn <= set(zip(recall, precision, strict=True))
    for x, y in zip(recall, precision, strict=True):
        assert min(abs(x - other_x) + abs(y - other_y) for other_x, other_y in drawn) < 0.01


def test_threshold_is_marked_at_its_metrics() -> None:
    """Threshold is marked where its metrics are."""
    on_pr: Any
    on_roc: Any
    target, probability, threshold, metrics, _ = args = point(*scores())
    on_pr, on_roc = (
        next(line for line in figure_of(draw, *args).axes[0].lines if line.get_marker() == "o")
        for draw in (plots.pr_curve, plots.roc_curve)
    )
    assert (on_pr.get_xdata()[0], on_pr.get_ydata()[0]) == (metrics["recall"], metrics["precision"])
    false_alarms = np.mean(probability[target == 0] >= threshold)
    assert (on_roc.get_xdata()[0], on_roc.get_ydata()[0]) == (false_alarms, metrics["recall"])


@pytest.mark.parametrize("share", [0.005, 0.2, 0.5, 0.95])
@pytest.mark.parametrize("recall", [0.0, 0.35, 0.6])
@pytest.mark.parametrize("above", [0.0, 0.2, 1.0])
def test_threshold_note_leaves_no_skill_readable(share: float, recall: float, above: float) -> None:
    """Note on the threshold leaves what no skill is readable."""
    target = (np.arange(1_000) < 1_000 * share).astype(np.int64)
    precision = min(share + above, 1.0)
    metrics = {"average_precision": share, "precision": precision, "recall": recall, "f1": 0.1}
    figure: Any = figure_of(plots.pr_curve, target, np.linspace(1, 0, 1_000), 0.00123, metrics, HEADING)
    figure.canvas.draw()
    by_start = {text.get_text()[:8]: text for text in figure.axes[0].texts}
    label = by_start["No skill"].get_window_extent()
    assert not by_start["Threshol"].get_bbox_patch().get_window_extent().overlaps(label)


def test_share_of_very_rare_positives_is_not_zero() -> None:
    target = (np.arange(10_000) < 2).astype(np.int64)
    args = point(target, np.linspace(1, 0, 10_000))
    assert "No skill: 0.02% are positive" in texts(figure_of(plots.pr_curve, *args))


def test_roc_curve_encloses_the_area_it_names() -> None:
    args = point(*scores())
    figure = figure_of(plots.roc_curve, *args)
    line: Any = figure.axes[0].lines[0]
    assert np.trapezoid(line.get_ydata(), line.get_xdata()) == pytest.approx(args[3]["roc_auc"])
    assert f"{args[3]['roc_auc']:.1%}" in texts(figure)


def test_confusion_matrix_counts_every_row_once() -> None:
    target, probability, threshold, *_ = args = point(*scores())
    cells = confusion.counts(target, probability, threshold)
    np.testing.assert_array_equal(cells, sklearn.metrics.confusion_matrix(target, probability >= threshold))
    shown = texts(figure_of(plots.confusion_matrix, *args))
    for actual in (0, 1):
        for called in (0, 1):
            assert f"\n{cells[actual, called]:,}\n" in shown
            assert f"{cells[actual, called] / 400:.1%} of all rows" in shown


def test_calibration_shows_shares_and_counts() -> None:
    """Calibration shows shares and counts of each range."""
    target, probability = scores()
    found = calibration.calibration(target, probability)
    assert found.counts.sum() == 400
    for n, (score, share) in enumerate(zip(found.score, found.share, strict=True)):
        low = np.flatnonzero(found.counts)[n] / calibration.BINS
        rows = (probability >= low) & (probability < low + 0.1)
        assert score == pytest.approx(probability[rows].mean())
        assert share == pytest.approx(target[rows].mean())
    assert np.all((found.low <= found.share + 1e-12) & (found.share <= found.high + 1e-12))
    figure: Any = figure_of(plots.calibration_curve, target, probability, HEADING)
    np.testing.assert_array_equal(figure.axes[0].lines[1].get_ydata(), found.share)
    assert reaches(figure.axes[1], upward=True) == list(found.counts)


def test_scores_that_are_shares_have_a_small_gap() -> None:
    rng = np.random.default_rng(3)
    probability = rng.random(20_000)
    target = (rng.random(20_000) < probability).astype(np.int64)
    assert calibration.calibration(target, probability).gap < 0.02
    assert calibration.calibration(target, probability**3).gap > 0.2


def test_importance_shows_the_strongest_features() -> None:
    """Importance shows the features with the largest gain, and says what it is."""
    figure: Any = figure_of(plots.feature_importance, made(300), HEADING)
    left, right = figure.axes
    labels = [text.get_text() for text in left.texts]
    assert [label for label in labels if label.startswith("f")] == [f"f{n}" for n in range(12)]
    total = 300 * 301 / 2
    assert reaches(left) == pytest.approx([gain / total for gain in range(300, 288, -1)])
    assert reaches(right)[0] == pytest.approx(1 / total)
    assert "12 of 300" in texts(figure)
    assert "exact, from all 500 trees" in texts(figure)


def test_long_feature_names_keep_both_ends() -> None:
    """Long feature names keep both ends and leave room for the bars."""
    figure = figure_of(plots.feature_importance, made(2, ["a" * 100 + "_1", "a" * 100 + "_2"]), HEADING)
    labels = [text.get_text() for text in figure.axes[0].texts if text.get_text().startswith("aaa")]
    assert len(set(labels)) == 2
    assert max(map(len, labels)) <= 28
    assert figure.axes[0].get_position().width > 0.2


@pytest.mark.parametrize("slope", [-0.01, -0.001, 0.0, 0.001, 0.01])
def test_lowest_loss_note_leaves_the_curve_free(slope: float) -> None:
    """Note on the lowest loss leaves the curve in sight."""
    steps = np.arange(1, 101)
    losses = 0.5 + 0.3 * np.exp(-steps / 8) + slope * steps
    figure: Any = figure_of(plots.learning_curve, list(losses), 100, HEADING)
    figure.canvas.draw()
    axes = figure.axes[0]
    note = next(text for text in axes.texts if "owest after" in text.get_text()).get_bbox_patch().get_window_extent()
    assert note.count_contains(axes.transData.transform(np.stack([steps, losses], axis=1))) == 0


def test_learning_curve_marks_the_lowest_loss() -> None:
    """Learning curve marks the lowest validation loss."""
    losses = [0.7, 0.5, 0.4, 0.45, 0.5]
    figure: Any = figure_of(plots.learning_curve, losses, 5, HEADING)
    curve, _, mark = figure.axes[0].lines
    assert list(curve.get_ydata()) == losses
    assert (mark.get_xdata()[0], mark.get_ydata()[0]) == (3, 0.4)
    assert "After all 5: 0.5000" in texts(figure)
    assert "Stopped early: 3 of 5 kept" in texts(figure_of(plots.learning_curve, losses, 3, HEADING))


def test_falling_curve_names_its_last_loss_once() -> None:
    """Learning curve that falls to the end says its last loss once."""
    found = texts(figure_of(plots.learning_curve, [0.7, 0.5, 0.4], 3, HEADING)).splitlines()
    assert "Lowest after all 3: 0.4000" in found
    assert not any(line.startswith(("After all", "Lowest after 3")) for line in found)


# Importance -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def fitted(dataset: Dataset) -> FitResult:
    return fit_variant(complete_params({"n_estimators": 12, "num_leaves": 8}), dataset, seed=5, validation_size=0.25)


def test_importance_is_counted_in_the_trees(fitted: FitResult, dataset: Dataset) -> None:
    """Gain and splits are what a count over the model's own trees gives."""
    pipeline = fitted.model.estimator_.estimator
    found = measure_importance(pipeline)
    nodes = pipeline[-1].booster_.trees_to_dataframe().dropna(subset=["split_gain"])
    assert set(found.names) == set(dataset.column_types)
    features = pipeline[-1].booster_.feature_name()
    by_feature = nodes.groupby("split_feature")["split_gain"]
    for name, gain, splits in zip(features, found.gain, found.splits, strict=True):
        assert splits == by_feature.size().get(name, 0)
        assert gain == pytest.approx(by_feature.sum().get(name, 0.0), rel=1e-4)
    assert found.trees == nodes["tree_index"].nunique()


# Files ----------------------------------------------------------------------------------------------------------------


def test_run_has_six_pictures_none_of_them_blank(dataset: Dataset, fitted: FitResult, tmp_path: Path) -> None:
    plots.write_run_plots(tmp_path, "baseline", dataset, fitted)
    files = sorted((tmp_path / "plots").glob("*.png"))
    assert [file.stem for file in files] == [
        "calibration", "confusion_matrix", "feature_importance", "learning_curve", "pr_curve", "roc_curve",
    ]  # fmt: skip
    for file in files:
        # Each colour as one number: unique rows would be sorted, which takes a second.
        assert len(np.unique(pixels(file).astype(int) @ [1 << 16, 1 << 8, 1])) > 50


def test_same_figure_gives_the_same_file(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        plots.save(figure_of(plots.pr_curve, *point(*scores())), tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def touching(figure: Any) -> list[tuple[str, str]]:
    figure.canvas.draw()
    found = [
        text for text in [*figure.texts, *(text for axes in figure.axes for text in axes.texts)] if text.get_text()
    ]
    places = [(text.get_text(), text.get_window_extent(figure.canvas.get_renderer())) for text in found]
    return [(one, other) for (one, its), (other, place) in itertools.combinations(places, 2) if its.overlaps(place)]


@pytest.mark.parametrize("losses", [[0.01371], [0.013712, 0.013711, 0.013705], [0.7, 0.5, 0.4]])
def test_curve_scale_stays_clear_of_its_title(losses: list[float]) -> None:
    """Scale of a learning curve stays clear of its title."""
    assert touching(figure_of(plots.learning_curve, losses, len(losses), HEADING)) == []


@pytest.mark.parametrize("name", ["f", "a column with a very long name, number "])
def test_importance_texts_do_not_touch(name: str) -> None:
    """Texts of the importance stay clear of each other."""
    heading = plots.Heading("n_estimators=30 early_stopping_round=3", "some data, 400 test rows")
    many = made(21, [f"{name}{number}" for number in range(21)])
    assert touching(figure_of(plots.feature_importance, many, heading)) == []


# Edges ----------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("title", ["a" * 300, "$x$ and $y", "", "größer ≥ 5"])
@pytest.mark.parametrize(
    "rows",
    [([0, 1], [0.1, 0.9]), ([0, 1, 0, 1], [0.5] * 4), ([0, 0, 1], [0.0, 1.0, 1.0]), ([0, 1, 1], [1.0, 0.0, 0.0])],
    ids=["two rows", "constant", "extremes", "all wrong"],
)
def test_any_scores_and_titles_can_be_drawn(tmp_path: Path, title: str, rows: tuple[list[int], list[float]]) -> None:
    target, probability = np.array(rows[0]), np.array(rows[1])
    heading = plots.Heading(title, title)
    for draw in POINT_PICTURES:
        plots.save(figure_of(draw, *point(target, probability, heading)), tmp_path / "x.png")
    plots.save(figure_of(plots.calibration_curve, target, probability, heading), tmp_path / "x.png")


@pytest.mark.parametrize("losses", [[0.5], [0.5, 0.5], [0.0, 0.0]])
def test_any_losses_can_be_drawn(tmp_path: Path, losses: list[float]) -> None:
    plots.save(figure_of(plots.learning_curve, losses, len(losses), HEADING), tmp_path / "x.png")


def test_single_worthless_feature_is_drawn(tmp_path: Path) -> None:
    """Single feature without any worth can be drawn."""
    nothing = importance_values.Importance(["$only$"], np.zeros(1), np.zeros(1, dtype=np.int64), 2)
    plots.save(figure_of(plots.feature_importance, nothing, HEADING), tmp_path / "x.png")


def test_tiny_data_gives_all_plots(tmp_path: Path) -> None:
    """Tiny data with a single feature gives all pictures."""
    table = pd.DataFrame({"x": np.arange(12.0), "y": [0, 1] * 6})
    table.to_csv(tmp_path / "tiny.csv", index=False)
    dataset = load_data(tmp_path / "tiny.csv", target="y")
    fitted = fit_variant(complete_params({"n_estimators": 2}), dataset, seed=1, validation_size=0.2)
    plots.write_run_plots(tmp_path, "tiny", dataset, fitted)
    assert len(list((tmp_path / "plots").glob("*.png"))) == len(list((tmp_path / "plots").glob("*.csv"))) == 6


def test_million_points_are_thinned() -> None:
    """Million points are thinned to what can be seen."""
    x = np.linspace(0, 1, 1_000_000)
    thin_x, thin_y = style.thinned(x, x**2)
    assert len(thin_x) < 4_000
    assert (thin_x[0], thin_x[-1]) == (0, 1)
    np.testing.assert_array_equal(thin_y, thin_x**2)


def test_saved_plot_has_the_drawn_colours(tmp_path: Path) -> None:
    """Saved picture has the colours that were drawn."""
    figure = figure_of(plots.roc_curve, *point(*scores()))
    plots.save(figure, tmp_path / "roc.png")
    drawn = np.asarray(figure.canvas.buffer_rgba())[..., :3].astype(int)
    saved = pixels(tmp_path / "roc.png").astype(int)
    assert np.abs(saved - drawn).max() < 20
    assert np.abs(saved - drawn).mean() < 1
    # The background's white is no near-white, which would show as a tinted box on a white page.
    np.testing.assert_array_equal(saved[0, 0], [255, 255, 255])


@pytest.fixture(scope="module")
def preloaded() -> set[str]:
    """The modules that a process has loaded which runs variants."""
    code = "import sys, trainer.runs.preload, trainer.plots; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.process
def test_pyplot_and_shap_stay_unloaded(preloaded: set[str]) -> None:
    assert "matplotlib.figure" in preloaded
    assert not {"matplotlib.pyplot", "shap"} & preloaded


@pytest.mark.process
def test_process_server_has_the_table_readers(preloaded: set[str]) -> None:
    """Process server has what scikit learn reads tables with: each variant would load it."""
    # Scikit-learn's dependency, not the trainer's: it comes with the import of what needs it.
    assert "narwhals.stable.v2" in preloaded


@pytest.mark.slow
def test_plots_saved_side_by_side_do_not_mix(tmp_path: Path) -> None:
    def save(name: str) -> bytes:
        file = tmp_path / f"{name}.png"
        plots.save(figure_of(plots.learning_curve, [0.7, 0.4 + len(name) / 100], 2, plots.Heading(name)), file)
        return file.read_bytes()

    names = ["x" * count for count in range(1, 13)]
    expected = [save(name) for name in names]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(save, names)) == expected
