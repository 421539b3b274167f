"""The public Python interface: what the command line does, for notebooks and pipelines.

Import these names from ``trainer`` itself. Everything else in this package may change from one version to the next.

Results are tracked on the MLflow server that ``tracking_uri`` or MLFLOW_TRACKING_URI names; without either, in the file
mlflow.db in the working directory. A failure is raised as a ``TrainerError``, whose message is one line.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from trainer.config.csv_form import CsvForm
from trainer.config.defaults import EXPERIMENT, MODEL, VALIDATION_SIZE
from trainer.config.explain import parse_explain
from trainer.config.other_estimator import parse_other_estimator
from trainer.config.parameter import Value
from trainer.config.parameter_names import parse_param
from trainer.config.plot_style import PlotStyle, parse_plot_style
from trainer.config.selection_metric import Metric
from trainer.config.task import TASKS
from trainer.config.variant import (
    Variant,
    check_params,
    make_baselines,
    make_other,
    make_variant,
    parse_variant,
    selection_metric,
)
from trainer.data.buckets import table_place
from trainer.data.dataset import Dataset
from trainer.data.sources import load_data
from trainer.parallel.fit_threads import threads_alone
from trainer.parallel.pool import ProcessPool
from trainer.registry.model_name import check_name
from trainer.registry.registration import register_best
from trainer.registry.registry import Registration
from trainer.runs.plan import Plan, TrainResult
from trainer.runs.resume import finished_runs
from trainer.runs.train import train_run
from trainer.scoring.predict import PredictRequest, PredictResult, predict_file
from trainer.sweeps.sweep import SweepResult, run_sweep, sweep_preload
from trainer.tracking.connection import connect
from trainer.tracking.settings import set_defaults
from trainer.training.threshold_rule import parse_threshold_rule
from trainer.training.train_config import TrainConfig
from trainer.training.validation_split import check_splits
from trainer.util import provenance
from trainer.util.errors import InputError, TrainerError
from trainer.util.processors import available_cpus

__all__ = ["CsvForm", "Dataset", "TrainerError", "load_data", "predict", "register", "search", "sweep", "train"]


def train(
    dataset: Dataset,
    params: Mapping[str, Value] | None = None,
    *,
    name: str | None = None,
    experiment: str = EXPERIMENT,
    tracking_uri: str | None = None,
    seed: int = 42,
    validation_size: float = VALIDATION_SIZE,
    threshold: str = "max-f1",
    folds: int = 0,
    metric: Metric | None = None,
    explain: int | Literal["all"] = 0,
    plot_style: PlotStyle = "light",
    estimator: str | None = None,
    estimator_params: Mapping[str, Any] | None = None,
) -> TrainResult:
    """Train one variant, and track it as a run with its metrics, plots and model.

    Args:
        dataset: What to train on; see ``load_data``.
        params: LightGBM's parameters, over the defaults.
        name: The run's name; made of ``params`` by default.
        experiment: The MLflow experiment; created where it does not exist.
        tracking_uri: The MLflow server.
        seed: Seeds the validation rows, and LightGBM.
        validation_size: The share of the training rows (0 to 1) that chooses the threshold.
        threshold: How the decision threshold is chosen: ``max-f1``, ``f2``, ``fbeta:0.5``, ``balanced-accuracy``,
            ``cost:FP=1,FN=5``, ``precision>=0.8``, ``recall>=0.9``, or a number.
        folds: How many folds to cross-validate with, in place of ``validation_size``; 0 for none.
        metric: What stops a fit early: ``average_precision``, ``f1``, ``roc_auc`` or ``log_loss``.
        explain: On how many test rows the features' contributions are computed: 0 for none, 100 or more, or ``all``.
        plot_style: Which plots are drawn: ``light``, ``dark`` or ``both``.
        estimator: Another estimator with scikit-learn's interface in LightGBM's place, as ``module:Class``; then
            without ``params`` and ``explain``.
        estimator_params: What its class is called with.

    Raises:
        TrainerError: A parameter is wrong, the fit failed, or the server cannot be reached.

    Examples:
        >>> from trainer import load_data, train
        >>> result = train(load_data(rows=600), {"n_estimators": 20, "learning_rate": 0.2})
        >>> result.name
        'n_estimators=20 learning_rate=0.2'
        >>> 0 < result.metrics["average_precision"] <= 1
        True
    """
    variant = make_variant(_parsed(params or {}), name=name)
    if estimator is not None:
        if params or explain:
            raise InputError("params and explain are LightGBM's; another estimator takes estimator_params")
        given = None if estimator_params is None else dict(estimator_params)
        variant = make_other(parse_other_estimator(estimator, given), name)
    plan = _plan(
        dataset,
        [variant],
        experiment,
        tracking_uri,
        seed,
        validation_size,
        threshold,
        folds,
        metric,
        explain,
        plot_style,
    )
    return train_run(variant, dataset, plan, threads=threads_alone(variant, dataset))


def sweep(
    dataset: Dataset,
    variants: Sequence[Mapping[str, Any]],
    *,
    params: Mapping[str, Value] | None = None,
    jobs: int | None = None,
    reuse: bool = True,
    baselines: bool = False,
    name: str = "sweep",
    experiment: str = EXPERIMENT,
    tracking_uri: str | None = None,
    seed: int = 42,
    validation_size: float = VALIDATION_SIZE,
    threshold: str = "max-f1",
    folds: int = 0,
    metric: Metric | None = None,
    explain: int | Literal["all"] = 0,
    plot_style: PlotStyle = "light",
) -> SweepResult:
    """Train several variants side by side, as nested runs of one parent run.

    Each variant is trained in a process of its own. A script calls this below ``if __name__ == "__main__":``, as
    Python's ``multiprocessing`` asks of it.

    Args:
        dataset: What to train on; see ``load_data``.
        variants: What distinguishes each variant: LightGBM's parameters; or ``estimator``, as ``module:Class``, and
            ``estimator_params``.
        params: LightGBM's parameters that all variants have in common.
        jobs: How many variants are trained at a time; by default as many as there are processors.
        reuse: Whether variants that the experiment already holds, finished with the same data, parameters and code,
            are taken from there.
        baselines: Whether to train a constant and a linear model for comparison, too; they are never the best.
        name: The parent run's name.
        experiment: The MLflow experiment; created where it does not exist.
        tracking_uri: The MLflow server.
        seed: See ``train``.
        validation_size: See ``train``.
        threshold: See ``train``.
        folds: See ``train``.
        metric: What variants are chosen by; see ``train``.
        explain: See ``train``.
        plot_style: See ``train``.

    Raises:
        TrainerError: A parameter is wrong, a variant failed, or the server cannot be reached.

    Examples:
        >>> from trainer import load_data, sweep
        >>> done = sweep(load_data(rows=600), [{"n_estimators": 5}, {"n_estimators": 10}], jobs=1)
        >>> [result.name for result in done.results]
        ['n_estimators=5', 'n_estimators=10']
        >>> done.best in done.results
        True
    """
    base = _parsed(params or {})
    wanted = [parse_variant(item, base) for item in variants]
    if not wanted:
        raise TrainerError("a sweep needs at least one variant")
    plan = _plan(
        dataset, wanted, experiment, tracking_uri, seed, validation_size, threshold, folds, metric, explain, plot_style
    )
    if baselines:
        wanted += make_baselines(dataset.task)
    reused = finished_runs(wanted, dataset, plan) if reuse else {}
    return run_sweep(wanted, dataset, plan, _pool(jobs, len(wanted), plan), name=name, reused=reused)


def search(
    dataset: Dataset,
    *,
    trials: int = 30,
    space: Mapping[str, Any] | Path | None = None,
    params: Mapping[str, Value] | None = None,
    jobs: int | None = None,
    storage: str = "optuna.journal",
    sampler: str = "tpe",
    pruner: str = "median",
    experiment: str = EXPERIMENT,
    tracking_uri: str | None = None,
    seed: int = 42,
    validation_size: float = VALIDATION_SIZE,
    threshold: str = "max-f1",
    folds: int = 0,
    metric: Metric | None = None,
    explain: int | Literal["all"] = 0,
    plot_style: PlotStyle = "light",
) -> SweepResult:
    """Search for good parameters with Optuna, each trial as a nested run of one parent run.

    The same call again goes on with the same study. As ``sweep``, it trains in processes.

    Args:
        dataset: What to train on; see ``load_data``.
        trials: How many trials the study shall hold in all.
        space: What to vary: a mapping from parameter to a range (``{"low": 10, "high": 100}``), a list of values, or
            one value; or a YAML file of such a mapping. A standard space by default.
        params: The parameters that all trials have in common.
        jobs: How many trials are trained at a time; by default as many as there are processors.
        storage: Where the trials are kept: a file, or a database's URL.
        sampler: ``tpe`` or ``random``.
        pruner: ``median``, ``hyperband`` or ``none``: when an unpromising trial is ended early.
        experiment: The MLflow experiment; created where it does not exist.
        tracking_uri: The MLflow server.
        seed: See ``train``.
        validation_size: See ``train``.
        threshold: See ``train``.
        folds: See ``train``.
        metric: What trials are pruned and chosen by; see ``train``.
        explain: See ``train``.
        plot_style: See ``train``.

    Raises:
        TrainerError: A parameter is wrong, a trial failed, or the server or the storage cannot be used.

    Examples:
        >>> from trainer import load_data, search
        >>> space = {"num_leaves": {"low": 4, "high": 16}, "n_estimators": 5}
        >>> done = search(load_data(rows=600), trials=2, space=space, jobs=1)
        >>> [result.name for result in done.results]
        ['trial 0', 'trial 1']
    """
    from trainer.searches.search import Settings, run_search
    from trainer.searches.space import load_space, make_space

    base = _parsed(params or {})
    wanted = make_space(space, base) if isinstance(space, Mapping) else load_space(space, base)
    start = [make_variant({}, base)]
    plan = _plan(
        dataset, start, experiment, tracking_uri, seed, validation_size, threshold, folds, metric, explain, plot_style
    )
    settings = Settings(trials, storage, sampler=sampler, pruner=pruner)
    return run_search(wanted, base, dataset, plan, _pool(jobs, trials, plan), settings)


def predict(
    model: str,
    data: Path | str,
    out: Path | str,
    *,
    ids: Sequence[str] = (),
    tracking_uri: str | None = None,
    csv: CsvForm | None = None,
) -> PredictResult:
    """Score a file with a logged model, and write probability and class of each row.

    Args:
        model: A model URI such as ``models:/purchase_predict@champion``, or a folder.
        data: The table to score: .csv, .csv.gz or .parquet.
        out: The file to write, of one of these formats; written whole or not at all.
        ids: The columns to copy into the result.
        tracking_uri: The MLflow server that has the model.
        csv: How the file is written, where not as those that the model was trained on; see ``CsvForm``.

    Raises:
        TrainerError: The model or a file cannot be used; nothing was written.

    Examples:
        >>> from trainer import load_data, predict, train
        >>> dataset = load_data(rows=600)
        >>> dataset.test.features.to_csv("new.csv", index=False)
        >>> model = train(dataset, {"n_estimators": 5}).model_uri
        >>> scored = predict(model, "new.csv", "scores.csv")
        >>> scored.columns, scored.rows
        (('probability', 'class'), 120)
    """
    set_defaults()
    form = {} if csv is None else {name: value for name, value in asdict(csv).items() if value != ()}
    return predict_file(
        PredictRequest(model, table_place(data), Path(out), tuple(ids), tracking_uri=_uri(tracking_uri), csv=form)
    )


def register(
    result: TrainResult, dataset: Dataset, *, model_name: str = MODEL, tracking_uri: str | None = None
) -> Registration:
    """Register a run's model as a version of a registered model, unless that has been done before.

    Args:
        result: What ``train`` returned, or the best one of a sweep or search.
        dataset: What it was trained on.
        model_name: The registered model; created where it does not exist.
        tracking_uri: The MLflow server that has the run.

    Raises:
        TrainerError: The run has no model, or the registry cannot be reached.

    Examples:
        >>> from trainer import load_data, register, train
        >>> dataset = load_data(rows=600)
        >>> register(train(dataset, {"n_estimators": 5}), dataset, model_name="shop").uri
        'models:/shop/1'
    """
    if result.model_uri is None:
        raise TrainerError(f"{result.name} has no model: {result.error or 'it was pruned'}")
    set_defaults()
    destination = connect(_uri(tracking_uri), EXPERIMENT)
    return register_best(destination, check_name(model_name), result, dataset, chosen_by=f"validation_{result.metric}")


def _plan(
    dataset: Dataset,
    variants: Sequence[Variant],
    experiment: str,
    tracking_uri: str | None,
    seed: int,
    validation_size: float,
    threshold: str,
    folds: int,
    metric: Metric | None,
    explain: int | str,
    plot_style: str,
) -> Plan:
    task = TASKS[dataset.task]
    lightgbm = [variant.params for variant in variants if variant.other is None]
    chosen_by = selection_metric(task, metric, lightgbm)
    config = TrainConfig(seed, validation_size, parse_threshold_rule(threshold), folds, chosen_by)
    config.check(task)
    for variant in variants:
        check_params(variant.params, dataset.task)
    check_splits(dataset, seed=seed, validation_size=validation_size, folds=folds)
    set_defaults()
    return Plan(
        connect(_uri(tracking_uri), experiment),
        config,
        provenance.tags(),
        explain=parse_explain(explain),
        plot_style=parse_plot_style(plot_style),
    )


def _pool(jobs: int | None, tasks: int, plan: Plan) -> ProcessPool:
    return ProcessPool(min(jobs or available_cpus(), tasks), sweep_preload(plan.destination.served))


def _parsed(params: Mapping[str, Value]) -> dict[str, Value]:
    return dict(parse_param(name, value) for name, value in params.items())


def _uri(tracking_uri: str | None) -> str | None:
    return tracking_uri or os.environ.get("MLFLOW_TRACKING_URI") or None
