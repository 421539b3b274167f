"""What a sweep or a search writes of its variants side by side: plots, and a table."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer.config.task import TASKS
from trainer.runs.plan import TrainResult

if TYPE_CHECKING:
    from trainer.config.plot_style import PlotStyle


@dataclass(frozen=True)
class Drawing:
    """What the plots of a comparison show.

    Attributes:
        variants: Each variant's parameters, None for another estimator's, and what came of it.
        subtitle: What data the curves are of.
        style: The themes to draw in.
        noun: What the variants are called.
    """

    variants: Sequence[tuple[Mapping[str, Any] | None, TrainResult]]
    subtitle: str
    style: PlotStyle
    noun: str = "variants"


def write_plots(folder: Path, drawing: Drawing) -> None:
    """Write the PR curves of the finished variants on one sheet, where they have some, and parameters against a metric.

    That metric is the one that the variants are chosen by.

    Args:
        folder: Where the files go; created where it does not exist.
        drawing: What to draw.
    """
    from trainer import plots

    first = next((result for _, result in drawing.variants if result.metrics), None)
    if first is None:
        return
    metric = TASKS[first.task].drawn
    finished = [(params, result) for params, result in drawing.variants if f"validation_{metric}" in result.metrics]
    if not finished:
        return
    counted = drawing.noun if len(finished) != 1 else drawing.noun.removesuffix("s")
    heading = plots.Heading(f"{len(finished)} {counted}", drawing.subtitle)
    scores = [result.metrics[f"validation_{metric}"] for _, result in finished]
    curves = [
        plots.Curve(result.name, score, result.curve)
        for (_, result), score in zip(finished, scores, strict=True)
        if result.curve
    ]
    if curves:
        plots.write_plot(plots.sweep_curves(curves, heading, metric), folder, "pr_curves", drawing.style)
    of = f"validation_{first.metric}"
    own = [(params, result.metrics[of]) for params, result in finished if params is not None and of in result.metrics]
    content = plots.sweep_parameters([params for params, _ in own], [score for _, score in own], heading, first.metric)
    if content is not None:
        plots.write_plot(content, folder, "parameters", drawing.style)


def write_table(path: Path, results: Sequence[TrainResult]) -> None:
    """Write the variants as a CSV table: name, run, status, what distinguishes it, its metrics, and its error.

    ``reused`` is "yes" for a variant whose run an earlier sweep made.
    """
    overrides = list(dict.fromkeys(name for result in results for name in result.overrides))
    metric_names = list(dict.fromkeys(name for result in results for name in result.metrics))
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["variant", "run_id", "status", "reused", *overrides, *metric_names, "error"])
        for result in results:
            writer.writerow(
                [
                    result.name,
                    result.run_id or "",
                    result.status,
                    "yes" if result.reused else "no",
                    *(result.overrides.get(name, "") for name in overrides),
                    *(result.metrics.get(name, "") for name in metric_names),
                    result.error or "",
                ]
            )
