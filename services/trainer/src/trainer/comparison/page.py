"""Writes a comparison as one HTML file that needs nothing else: style and plots are in it, scripts are not."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from importlib import resources

from trainer.comparison.compared_runs import ComparedRun, Comparison, direction, number
from trainer.comparison.markup import Markup, element
from trainer.comparison.plot_files import PlotFile
from trainer.plots.svg import variables
from trainer.util.text import short_numbers

#: Whatever a run's name or plot may hold, the browser loads and runs nothing.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def render(comparison: Comparison, plots: Mapping[str, Sequence[PlotFile]]) -> str:
    """Return the page.

    Args:
        comparison: The runs.
        plots: Plots by run id; of the sweep's parent too.
    """
    runs = comparison.runs
    style = variables() + resources.files(__package__).joinpath("page.css").read_text(encoding="utf-8")
    title = f"Comparison: {comparison.title}"
    count = f"{len(runs)} run{'s' if len(runs) != 1 else ''}"
    differs = f"{len(comparison.differing)} parameter{'s' if len(comparison.differing) != 1 else ''} differ"
    judged = any(comparison.best(name) for name in comparison.metrics)
    marks = "★ marks the best of a metric; the bars run from its worst value here to its best." if judged else ""
    body = [
        element("h1", comparison.title),
        element("p", f"{count}; {differs}. {marks}".rstrip()),
        *(element("p", f"Note: {warning}.") for warning in comparison.warnings),
        element("h2", "Parameters that differ, and metrics"),
        element("div", _table(comparison), class_="scroll", tabindex="0"),
    ]
    parent = comparison.parent
    if parent is not None and plots.get(parent.run_id):
        body.append(element("h2", "All variants"))
        body.append(element("div", *(_figure(one, one.path) for one in plots[parent.run_id]), class_="sheet"))
    paths = dict.fromkeys(plot.path for run in runs for plot in plots.get(run.run_id, ()))
    for path in paths:
        figures = [_figure(plot, run.name) for run in runs for plot in plots.get(run.run_id, ()) if plot.path == path]
        body.append(element("h2", path))
        body.append(element("div", *figures, class_="sheet"))
    left_out = sum(1 for run in runs if run.run_id not in plots)
    if left_out:
        body.append(element("p", f"Plots are shown of the first {len(runs) - left_out} runs."))
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("title", title),
        element("style", Markup(style)),
    )
    return f"<!doctype html>\n{element('html', head, element('body', *body), lang='en')}\n"


def _table(comparison: Comparison) -> Markup:
    heads = ["run", *comparison.differing, *comparison.metrics, "id"]
    rows = [element("tr", *_cells(comparison, run)) for run in comparison.runs]
    return element(
        "table",
        element("thead", element("tr", *(element("th", _head(head), scope="col") for head in heads))),
        element("tbody", *rows),
    )


def _head(name: str) -> str:
    # A browser breaks lines at spaces.
    return name.replace("_", " ")


def _cells(comparison: Comparison, run: ComparedRun) -> list[Markup]:
    mark = "" if run.status == "FINISHED" else f" ({run.status.lower()})"
    name, short = run.name + mark, short_numbers(run.name) + mark
    safe = run.url is not None and run.url.startswith(("http://", "https://"))
    cells = [
        element("th", element("a", short, href=run.url, rel="noreferrer") if safe else short, scope="row", title=name)
    ]
    for param in comparison.differing:
        value = run.params.get(param, "-")
        text, classes = comparison.shown_param(param, value), None if _numeric(value) else "text"
        cells.append(element("td", text, class_=classes, title=value, data_label=_head(param)))
    for metric in comparison.metrics:
        if metric not in run.metrics:
            cells.append(element("td", "-", data_label=_head(metric)))
            continue
        best = run.run_id in comparison.best(metric)
        text = number(run.metrics[metric]) + (" ★" if best else "")
        share = _share(comparison, metric, run.metrics[metric])
        bar = {} if share is None else {"style": f"--share: {share:.0%}"}
        classes = " ".join([*(["metric"] if bar else []), *(["best"] if best else [])])
        cells.append(
            element(
                "td", text, class_=classes or None, title=repr(run.metrics[metric]), data_label=_head(metric), **bar
            )
        )
    cells.append(element("td", element("code", run.run_id), data_label="id"))
    return cells


def _share(comparison: Comparison, metric: str, value: float) -> float | None:
    """Return where between the runs' worst (0) and best (1) a value lies; None where that means nothing."""
    sign = direction(metric)
    values = [run.metrics[metric] for run in comparison.runs if metric in run.metrics]
    finite = [number for number in values if math.isfinite(number)]
    if sign is None or not math.isfinite(value) or len(set(finite)) < 2:
        return None
    low, high = min(finite), max(finite)
    share = (value - low) / (high - low)
    return share if sign > 0 else 1 - share


def _numeric(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _figure(plot: PlotFile, caption: str) -> Markup:
    shown = Markup(plot.svg) if plot.svg else element("img", src=plot.uri, alt=f"{plot.path} of {caption}")
    # Of a plot that is wider than a phone, the rest is scrolled to.
    frame = element("div", shown, class_="plot", tabindex="0")
    return element("figure", element("figcaption", short_numbers(caption), title=caption), frame)
