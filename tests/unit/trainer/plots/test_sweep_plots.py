"""The pictures of a sweep: curves on one sheet, and parameters against the score."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sklearn.metrics
from trainer import plots
from trainer.config import parameter_table
from trainer.config.parameter import Value
from trainer.config.selection_metric import Metric
from trainer.config.task import TASKS, TaskName
from trainer.config.variant import complete_params
from trainer.plots import style
from trainer.plots.sweep_parameters import MOST_AXES
from trainer.runs.plan import TrainResult
from trainer.sweeps.comparison_files import Drawing, write_plots
from trainer.training import metrics

HEADING = plots.Heading("Sweep", "some data")


def figure_of(measure: Callable[..., plots.Content | None], *args: Any) -> Any:
    """Return the figure of a plot."""
    content = measure(*args)
    assert content is not None
    return plots.draw(content)


def curves(count: int, name: str = "variant") -> list[plots.Curve]:
    return [plots.Curve(f"{name} {n}", n / 100, tuple([n / 100] * 101)) for n in range(count)]


def complete(*overrides: Mapping[str, Value]) -> list[dict[str, Value]]:
    return [complete_params(some) for some in overrides]


def texts(figure: Any) -> list[str]:
    return [text.get_text() for text in figure.axes[0].texts]


@pytest.mark.parametrize("name", ["変種", "WIDE"])
def test_names_of_wide_letters_stay_in_the_picture(name: str) -> None:
    figure: Any = figure_of(plots.sweep_curves, curves(2, name * 15), HEADING)
    renderer = figure.canvas.get_renderer()
    names = [text for text in figure.axes[0].texts if name in text.get_text()]
    assert len(names) == 2
    assert all(text.get_window_extent(renderer).x1 <= figure.bbox.x1 for text in names)


def test_sampled_curve_takes_first_precision() -> None:
    """Sampled curve is the precision where a recall is first reached."""
    rng = np.random.default_rng(2)
    target = (rng.random(300) < 0.3).astype(np.int64)
    probability = np.round(target * 0.3 + rng.random(300), 2)
    precision, recall, _ = sklearn.metrics.precision_recall_curve(target, probability)
    found = metrics.sampled_curve(target, probability)
    assert len(found) == 101
    # scikit-learn's last point is made up.
    precision, recall = precision[:-1], recall[:-1]
    for level, value in zip(np.linspace(0, 1, 101), found, strict=True):
        reached = recall[recall >= level - 1e-12].min()
        # Of points with the same recall the one with the highest threshold.
        assert value == pytest.approx(precision[np.flatnonzero(recall == reached)[-1]], abs=5e-5)


@pytest.mark.parametrize(("count", "named"), [(1, 1), (3, 3), (32, 6)])
def test_all_curves_are_drawn_and_the_best_named(tmp_path: Path, count: int, named: int) -> None:
    figure: Any = figure_of(plots.sweep_curves, curves(count), HEADING)
    drawn = [line for line in figure.axes[0].lines if len(line.get_xdata()) == 101]
    assert len(drawn) == count
    # The best is drawn last, on top.
    assert drawn[-1].get_ydata()[0] == (count - 1) / 100
    assert len({line.get_color() for line in drawn[-named:]}) == named
    assert texts(figure)[0] == f"{(count - 1) / 100:.2%}\nvariant {count - 1}"
    assert any(text.startswith(f"{count - named} others") for text in texts(figure)) == (count > named)
    plots.save(figure, tmp_path / "x.png")


def test_long_names_are_cut_to_two_lines() -> None:
    figure = figure_of(plots.sweep_curves, curves(2, "learning_rate=0.12345678901234 " + "x" * 200), HEADING)
    named = [text for text in texts(figure) if "\n" in text]
    assert len(named) == 2
    assert all(text.count("\n") <= 2 and max(map(len, text.split("\n"))) <= 26 for text in named)
    assert "0.1235" in texts(figure)[0]


def test_nothing_is_drawn_where_no_parameter_varies() -> None:
    assert plots.sweep_parameters(complete({}, {}), [0.1, 0.2], HEADING) is None


def test_grid_of_two_parameters_is_a_heat_map() -> None:
    grid = [(leaves, rate) for leaves in (7, 15, 31) for rate in (0.01, 0.1)]
    chosen = complete(*({"num_leaves": leaves, "learning_rate": rate} for leaves, rate in grid))
    scores = [leaves / 100 + rate for leaves, rate in grid]
    figure: Any = figure_of(plots.sweep_parameters, chosen, scores, HEADING)
    shown = {text.get_text(): text.get_position() for text in figure.axes[0].texts}
    cells = [shown[f"{score:.2%}"] for score in scores]
    assert sorted(cells) == [(x, y) for x in range(3) for y in range(2)] or sorted(cells) == [
        (x, y) for x in range(2) for y in range(3)
    ]
    # The higher the score, the stronger the colour.
    strengths = figure.axes[0].collections[0].get_facecolor()[:, 3]
    assert list(np.argsort(strengths)) == list(np.argsort(scores))


@pytest.mark.parametrize("count", [3, 32])
def test_other_variants_are_parallel_coordinates(tmp_path: Path, count: int) -> None:
    weights: tuple[Value, ...] = ("balanced", None)
    chosen = complete(
        *(
            {"num_leaves": 4 + n, "learning_rate": 0.01 * (n + 1), "class_weight": weights[n % 2], "reg_alpha": n / 7}
            for n in range(count)
        )
    )
    scores = [n / 40 for n in range(count)]
    figure: Any = figure_of(plots.sweep_parameters, chosen, scores, HEADING)
    (lines,) = figure.axes[0].collections
    assert len(lines.get_segments()) == count
    # The best variant has the highest value on every numeric axis, and on that of the score.
    best = next(line for line in figure.axes[0].lines if line.get_marker() == "o")
    names = [text.strip() for text in texts(figure)[-5:]]
    heights = dict(zip(names, best.get_ydata(), strict=True))
    assert heights["num_leaves"] == heights["learning_rate"] == heights["average\nprecision"] == 1
    assert {"balanced", "none"} <= set(texts(figure))
    plots.save(figure, tmp_path / "x.png")


def test_equal_scores_can_be_drawn(tmp_path: Path) -> None:
    """Equal scores and many parameters can be drawn."""
    names = [parameter.name for parameter in parameter_table.PARAMETERS if parameter.kind in (int, float)][:15]
    chosen = [dict.fromkeys(names, value) for value in (1, 2)]
    figure: Any = figure_of(plots.sweep_parameters, chosen, [0.5, 0.5], HEADING)
    shown = texts(figure)
    assert shown[-1] == "8 more parameters vary"
    fewer = [{name: some[name] for name in names[: MOST_AXES + 1]} for some in chosen]
    assert texts(figure_of(plots.sweep_parameters, fewer, [0.5, 0.5], HEADING))[-1] == "1 more parameter varies"
    assert sum(text.strip() in [style.shortened(name, 18) for name in names] for text in shown) == MOST_AXES
    plots.save(figure, tmp_path / "x.png")


@pytest.mark.parametrize(
    ("task", "metric", "scores", "best"),
    [
        ("binary", "log_loss", [0.7, 0.2], "0.2"),
        ("multiclass", "f1_macro", [0.3, 0.625], "62.50%"),
        ("regression", "r2", [-1.5, -0.25], "-0.25"),
        ("regression", "quantile_loss", [5e-7, 2.5e-7], "2.5e-07"),
    ],
)
def test_parameters_are_drawn_against_what_chose(
    task: TaskName, metric: Metric, scores: list[float], best: str, tmp_path: Path
) -> None:
    """The marked variant is the one that was chosen, whatever metric chose it; the curves keep theirs."""
    variants = [
        (
            {"num_leaves": leaves},
            TrainResult(
                f"num_leaves={leaves}",
                {},
                metrics={f"validation_{TASKS[task].drawn}": 0.5, f"validation_{metric}": score},
                metric=metric,
                task=task,
            ),
        )
        for leaves, score in zip((4, 8), scores, strict=True)
    ]
    write_plots(tmp_path, Drawing([*variants, ({}, TrainResult("failed", {}, error="no memory"))], "data", "light"))
    header, *rows = (tmp_path / "parameters.csv").read_text().splitlines()
    assert header == f"num_leaves,validation_{metric}"
    assert rows == [f"4,{scores[0]}", f"8,{scores[1]}"]
    params = [{"num_leaves": 4}, {"num_leaves": 8}]
    assert best in texts(figure_of(plots.sweep_parameters, params, scores, HEADING, metric))
