"""Trains one variant and tracks it as one run, from end to end."""

from __future__ import annotations

import json
import math
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

from trainer import plots
from trainer.accelerators import background_import
from trainer.config.task import TASKS
from trainer.config.variant import Variant
from trainer.data.dataset import Dataset
from trainer.runs import cache_key
from trainer.runs.cache_key import run_key
from trainer.runs.logged_parameters import parameters
from trainer.runs.plan import Plan, TrainResult
from trainer.runs.run_config import run_config, write_config
from trainer.tracking.active_run import ActiveRun
from trainer.tracking.errors import tracking_error
from trainer.tracking.inputs import dataset_inputs, described_inputs
from trainer.tracking.logged_metrics import metric_history, metric_values
from trainer.tracking.tags import PRUNED_TAG
from trainer.training import fit as fitting
from trainer.training.cross_validation import SpreadFolds
from trainer.training.fit import FitResult, fit_variant
from trainer.training.fit_warnings import fit_warnings
from trainer.training.model import MODEL_NAME, save_model
from trainer.training.pipeline import FitPipeline, fit_pipeline
from trainer.training.train_config import TrainConfig
from trainer.util.errors import PrunedError, TrainerError

#: The validation rows' PR curve: a sweep draws it also for a variant that it does not train again.
CURVE_TAG = "trainer.validation_pr_curve"
#: The warnings on a fitted variant, a line each.
WARNINGS_TAG = "trainer.warnings"
#: Marks a run that is there for comparison only.
BASELINE_TAG = "trainer.baseline"
#: The metrics of each fold of a cross-validation, as a metric's history.
FOLD = "fold_"


def train_run(
    variant: Variant,
    dataset: Dataset,
    plan: Plan,
    key: str | None = None,
    callbacks: Sequence[Callable[[Any], None]] = (),
    begun: Callable[[], FitResult] | None = None,
    threads: int = 1,
) -> TrainResult:
    """Train a variant and track it.

    Args:
        variant: What to train.
        dataset: What to train on.
        plan: Where to track it, and what it has in common with others.
        key: Identifies the run before it has an id.
        callbacks: Called by LightGBM after each iteration.
        begun: Waits for a fit of the variant that has begun in another process; None where it has not.
        threads: How many threads LightGBM fits with; the result does not depend on it.

    Raises:
        TrainerError: The fit or the tracking failed; the run is marked FAILED.
    """
    from mlflow.exceptions import MlflowException

    clock = Clock()
    background_import.load(*fitting.NEEDS)
    tracking = plan.destination.open()
    try:
        tags = {**plan.tags, cache_key.TAG: run_key(variant, dataset, plan.config)}
        if variant.baseline:
            tags[BASELINE_TAG] = "true"
        with tracking.run(variant.name, tags, parent=plan.parent, key=key) as run:
            run.log(params=parameters(variant, dataset, plan))
            run.log_inputs(dataset_inputs(described_inputs(dataset)))
            clock.lap("start")
            try:
                if begun is None:
                    with background_import.importing("trainer.runs.preload") as begin:
                        fitted = fit_planned(variant, dataset, plan.config, [*callbacks, begin], threads)
                else:
                    background_import.load("trainer.runs.preload")
                    fitted = begun()
            except PrunedError as pruned:
                pruned.run_id = run.run_id
                run.log(metric_history(history_name(dataset), pruned.loss), tags={PRUNED_TAG: "true"})
                raise
            clock.lap("fit")
            warnings = () if variant.baseline else fit_warnings(fitted, dataset.train)
            with tempfile.TemporaryDirectory(prefix="trainer-") as folder, ThreadPoolExecutor(1) as artist:
                # Drawn while the server is busy with the rest. All requests stay in this thread.
                drawn = artist.submit(_write_files, Path(folder) / "files", variant, dataset, fitted, plan)
                told = {WARNINGS_TAG: "\n".join(warnings)} if warnings else {}
                run.log(metric_history(history_name(dataset), fitted.loss), tags=told)
                clock.lap("history")
                metrics = _log_model(run, Path(folder), dataset, fitted, clock)
                drawn.result()
                clock.lap("plots")
                run.log_files(Path(folder) / "files")
                clock.lap("upload")
            run_id = run.run_id
        clock.lap("end")
    except MlflowException as error:
        raise tracking_error(error) from error
    except MemoryError as error:
        raise TrainerError("out of memory") from error
    return replace(
        plan.result(variant, run_id, dataset),
        metrics=metrics,
        iterations=fitted.iterations,
        seconds=clock.laps,
        curve=fitted.curve,
        warnings=warnings,
    )


def fit_planned(
    variant: Variant,
    dataset: Dataset,
    config: TrainConfig,
    callbacks: Sequence[Callable[[Any], None]] = (),
    threads: int = 1,
    fit: FitPipeline = fit_pipeline,
    spread: SpreadFolds | None = None,
) -> FitResult:
    """Fit a variant as the settings say.

    Args:
        variant: What to fit.
        dataset: What to fit it to.
        config: What the variants of a command have in common.
        callbacks: Called by LightGBM after each iteration.
        threads: How many threads LightGBM fits with.
        fit: What fits each pipeline.
        spread: What fits the models of a cross-validation in other processes, if anything.
    """
    return fit_variant(
        variant.params,
        dataset,
        seed=config.seed,
        validation_size=config.validation_size,
        threshold_rule=config.threshold_rule,
        folds=config.folds,
        metric=config.metric,
        callbacks=callbacks,
        other=variant.other,
        threads=threads,
        fit=fit,
        spread=spread,
    )


def history_name(dataset: Dataset) -> str:
    """Return the name of the metric that holds the validation loss after each iteration."""
    return f"validation_{TASKS[dataset.task].loss}"


class Clock:
    """Measures the phases of a run, in seconds."""

    def __init__(self) -> None:
        self.laps: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, name: str) -> None:
        """End a phase."""
        now = time.perf_counter()
        self.laps[name] = round(now - self._last, 4)
        self._last = now


def _write_files(folder: Path, variant: Variant, dataset: Dataset, fitted: FitResult, plan: Plan) -> None:
    explain = plan.explain if fitted.is_lightgbm else 0
    plots.write_run_plots(folder, variant.name, dataset, fitted, plan.plot_style, explain)
    if fitted.is_lightgbm:
        effective = json.dumps(fitted.effective, indent=2) + "\n"
        (folder / "lightgbm_parameters.json").write_text(effective, encoding="utf-8")
    write_config(folder, "train", run_config(variant.params, dataset, plan, variant.other))


def _log_model(run: ActiveRun, folder: Path, dataset: Dataset, fitted: FitResult, clock: Clock) -> dict[str, float]:
    with run.model(MODEL_NAME, fitted.params) as logged:
        save_model(
            fitted.model,
            dataset,
            folder / "model",
            run_id=run.run_id,
            model_id=logged.model_id,
            location=logged.location,
        )
        clock.lap("model")
        logged.upload(folder / "model")
        task = fitted.task.task
        threshold = {"threshold": fitted.threshold} if task.has_threshold else {}
        iterations = {"iterations": float(fitted.iterations)} if fitted.is_lightgbm else {}
        test = {**fitted.test, **threshold, **iterations}
        validation = {f"validation_{name}": value for name, value in fitted.validation.items() if name != task.loss}
        if fitted.folds:
            validation |= {f"validation_{name}_std": value for name, value in deviations(fitted.folds).items()}
        links: dict[str, Any] = {"run_id": run.run_id, "model_id": logged.model_id, "dataset_name": dataset.name}
        # What stopped early keeps fewer iterations than its history has, whose last value would stand for the model.
        loss, history = fitted.validation[task.loss], history_name(dataset)
        kept = {} if fitted.loss and math.isclose(loss, fitted.loss[-1], rel_tol=1e-4) else {history: loss}
        run.log(
            [
                *metric_values(test, **links, dataset_digest=dataset.test_digest),
                *metric_values(validation, **links, dataset_digest=dataset.digest),
                *metric_values(kept, step=len(fitted.loss), **links, dataset_digest=dataset.digest),
                *(
                    one
                    for name in (fitted.folds[0] if fitted.folds else ())
                    for one in metric_history(f"{FOLD}{name}", [fold[name] for fold in fitted.folds])
                ),
            ],
            tags={CURVE_TAG: ",".join(f"{precision:g}" for precision in fitted.curve)} if fitted.curve else None,
        )
    clock.lap("model upload")
    return {**test, **validation, history: loss}


def deviations(folds: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return the standard deviation of each metric over the folds, as a sample of all that could have been."""
    return {name: statistics.stdev(fold[name] for fold in folds) for name in folds[0]}
