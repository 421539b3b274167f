"""Prints the results of a command on standard output, its warnings and progress on standard error."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from trainer.config.selection_metric import OF_A_QUANTILE, SHORT, merit
from trainer.config.task import TASKS, TaskName
from trainer.config.variant import describe_params
from trainer.util.output import print_message, print_table

if TYPE_CHECKING:
    from trainer.registry.registry import Registration
    from trainer.runs.plan import TrainResult
    from trainer.searches.search import SearchResult
    from trainer.sweeps.sweep import SweepResult


def score(result: TrainResult) -> str:
    """Return the metric that a variant is compared by, with its value on the validation rows."""
    return f"{SHORT[result.metric]} {shown_metric(merit(result.metric, result.score))}"


def outcome(result: TrainResult) -> str:
    """Return what came of a variant, in a few words."""
    if result.error is not None:
        return f"failed: {result.error}"
    return f"validation {score(result)}, test {tested(result, 'average_precision')}"


def tested(result: TrainResult, wanted: str) -> str:
    """Return a metric of the test rows with its value: the wanted one, or else the first of the variant's task."""
    name = wanted if wanted in result.metrics else TASKS[result.task].metrics[0]
    return f"{SHORT[name]} {shown_metric(result.metrics[name])}"


def shown_metric(value: float) -> str:
    """Return a metric as people read it: shares to four digits, errors in the size that they have."""
    return f"{value:.4f}" if abs(value) < 1_000 else f"{value:,.1f}"


def run_content(result: TrainResult) -> dict[str, Any]:
    """Return a variant's result as plain values."""
    return {
        "name": result.name,
        "status": result.status,
        "run_id": result.run_id,
        "url": result.url,
        "model_uri": result.model_uri,
        "overrides": dict(result.overrides),
        "metrics": dict(result.metrics),
        "iterations": result.iterations,
        "seconds": dict(result.seconds),
        "reused": result.reused,
        "pruned": result.pruned,
        "warnings": list(result.warnings),
        "baseline": result.baseline,
        "error": result.error,
    }


def sweep_content(sweep: SweepResult) -> dict[str, Any]:
    """Return a sweep's result as plain values."""
    return {
        "run_id": sweep.run_id,
        "url": sweep.url,
        "best_run_id": sweep.best.run_id if sweep.best else None,
        "variants": [run_content(result) for result in sweep.results],
    }


def registered_content(registration: Registration | None) -> dict[str, Any]:
    """Return what was registered as plain values; empty where nothing was."""
    if registration is None:
        return {}
    names = ("name", "version", "created", "uri")
    return {"registered": {name: getattr(registration, name) for name in names}}


def show_registered(registration: Registration | None) -> None:
    """Print which version of the registered model the best one is."""
    if registration is not None:
        print(f"model  {registration.uri} ({'registered now' if registration.created else 'registered before'})")


def show_metrics(task: TaskName, metrics: Mapping[str, float]) -> int:
    """Print the metrics of a model, a line each; return how wide their names are."""
    heads = TASKS[task].heads | {name: SHORT.get(name, name.replace("_", " ")) for name in OF_A_QUANTILE}
    wide = max(10, *(len(head) for name, head in heads.items() if name in metrics))
    for name, head in heads.items():
        if name in metrics:
            print(f"  {head:<{wide}} {shown_metric(metrics[name])}")
    return wide


def show_run(result: TrainResult, ui_command: str | None) -> None:
    """Print a variant's metrics, its run, and where to look at it."""
    metrics = result.metrics
    print(f"{result.name}")
    wide = show_metrics(result.task, metrics)
    if "threshold" in metrics:
        print(f"  {'threshold':<{wide}} {metrics['threshold']:.4f}")
    print(f"run    {result.run_id}")
    print(f"model  {result.model_uri}")
    _show_where(result.url, ui_command)


def show_warnings(result: TrainResult | None, who: str = "") -> None:
    """Print the warnings on a fitted variant."""
    for warning in result.warnings if result is not None else ():
        print_message(f"{who}{': ' if who else ''}{warning}")


def show_sweep(sweep: SweepResult, ui_command: str | None) -> None:
    """Print the variants as a table, the best one first in mind, and where to look at them."""
    first = next((result for result in sweep.results if result.status == "FINISHED"), sweep.results[0])
    metric, shown = first.metric, TASKS[first.task].shown
    rows = [_row(result, result is sweep.best, tuple(shown)) for result in sweep.results]
    choice = f"val. {SHORT[metric]}"
    heads = ("", "variant", choice, *shown.values(), "run")
    print_table(heads, rows, right=(choice, *shown.values()))
    if sweep.best is not None:
        chosen = f"{sweep.best.name} (run {sweep.best.run_id})"
        print(f"best   {chosen}, by {choice}: {metric.replace('_', ' ')} on the validation rows")
        print("       the other metrics are of the test rows, and decide nothing")
    print(f"sweep  {sweep.run_id}")
    _show_where(sweep.url, ui_command)


def show_search(search: SearchResult, ui_command: str | None) -> None:
    """Print the best trials, the best one's parameters, and where to look at all of them."""
    finished = [result for result in search.results if result.status == "FINISHED"]
    best = sorted(finished, key=lambda result: -result.score)[:10]
    for result in best:
        print(f"{result.name:<10} validation {score(result)}  {tested(result, 'f1')}  run {result.run_id}")
    counts = f"{len(finished)} finished, {len(search.pruned)} pruned, {len(search.failed)} failed"
    print(f"trials {counts}")
    if best:
        print(f"best   {best[0].name}: {brief(best[0].overrides)}")
    print(f"search {search.run_id} (study {search.study})")
    _show_where(search.url, ui_command)


def brief(overrides: Mapping[str, Any]) -> str:
    """Return parameters as ``name=value`` pairs, decimals shortened to what a reader compares."""
    return describe_params(
        {name: float(f"{value:.4g}") if isinstance(value, float) else value for name, value in overrides.items()}
    )


def _row(result: TrainResult, best: bool, shown: Sequence[str]) -> tuple[str, ...]:
    if result.error is not None:
        return ("!", result.name, "-", *("-" for _ in shown), "failed")
    metrics = (shown_metric(result.metrics[name]) for name in shown)
    chosen = shown_metric(merit(result.metric, result.score))
    return ("*" if best else "", result.name, chosen, *metrics, str(result.run_id))


def _show_where(url: str | None, ui_command: str | None) -> None:
    if url is not None:
        print(f"look   {url}")
    elif ui_command is not None:
        print(f"look   {ui_command}")
