"""Evaluates one of the trainer's own models on labelled data: its metrics on rows that it was not trained on."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from trainer.config.stream import Stream
from trainer.config.task import TaskName
from trainer.data.buckets import Place
from trainer.data.dataset import Table
from trainer.data.reading import Reading
from trainer.data.sources import load_data
from trainer.scoring import locate
from trainer.scoring.loaded_model import load_model
from trainer.training.tasks import TrainingTask, training_task
from trainer.training.trained_on import TrainedOn
from trainer.training.unseen_rows import unseen_rows
from trainer.util.errors import InputError, TrainerError
from trainer.util.text import one_line


@dataclass(frozen=True)
class EvaluateRequest:
    """What to evaluate, and on what. ``all_rows`` takes rows too that the model was trained on."""

    model: str
    data: Place
    target: str | None = None
    positive: str | None = None
    all_rows: bool = False
    tracking_uri: str | None = None
    wait: float = 30.0
    #: The fields of ``CsvForm`` in which the data is unlike what the model was trained on.
    csv: Mapping[str, Any] = field(default_factory=dict)
    #: Whether a single table is read in passes, and not held in memory.
    stream: Stream = "auto"


@dataclass(frozen=True)
class Evaluation:
    """What came of it: the metrics on ``rows`` rows; ``rows_left_out`` of the data are training rows of the model."""

    data: str
    rows: int
    rows_left_out: int
    threshold: float | None
    metrics: Mapping[str, float]
    #: On how the data was read.
    warnings: tuple[str, ...] = ()
    task: TaskName = "binary"


def evaluate_model(request: EvaluateRequest) -> Evaluation:
    """Evaluate a model.

    Raises:
        InputError: The data or the model cannot be used, or holds no rows that the model was not trained on.
        TrainerError: The model fails.
    """
    with tempfile.TemporaryDirectory(prefix="trainer-") as folder:
        files = locate.local_files(request.model, Path(folder), uri=request.tracking_uri, wait=request.wait)
        loaded = load_model(files, request.model)
        trained = TrainedOn.read(files, loaded.metadata)
    if trained is None or not loaded.own:
        raise InputError(f"{request.model}: does not say what it was trained on; the trainer did not make it (--model)")
    default = Reading()
    dataset = load_data(
        request.data,
        target=request.target or trained.target,
        # Not asked for where the data came in two parts.
        test_size=default.test_size if trained.test_size is None else trained.test_size,
        seed=default.seed if trained.seed is None else trained.seed,
        column_types=trained.column_types,
        positive=request.positive or trained.positive,
        weight=trained.roles.get("weight"),
        time=trained.roles.get("time"),
        group=trained.roles.get("group"),
        csv=trained.form.with_given(request.csv),
        task=trained.task,
        classes=trained.classes,
        stream=request.stream,
    )
    whole = dataset.whole()
    table, left_out = whole, 0
    if not request.all_rows:
        unseen = unseen_rows(dataset, trained, whole)
        if unseen.problem is not None:
            raise InputError(f"{request.data}: {unseen.problem}; --all takes all rows")
        table = whole.take(unseen.positions)
        left_out = whole.rows - table.rows
    task = training_task(dataset.task, dataset.classes).of_model(loaded.model)
    threshold = float(loaded.model.threshold) if task.task.has_threshold else None
    metrics = _metrics(task, loaded.model, table)
    return Evaluation(dataset.name, table.rows, left_out, threshold, metrics, dataset.warnings, dataset.task)


def _metrics(task: TrainingTask, model: Any, table: Table) -> dict[str, float]:
    answers, scores = [], []
    for part in table.parts():
        try:
            if hasattr(model, "predict_proba"):
                scores.append(np.asarray(model.predict_proba(part), dtype=np.float64))
            answers.append(np.asarray(model.predict(part)))
        except Exception as error:
            raise TrainerError(f"the model fails: {type(error).__name__}: {one_line(error, 300)}") from error
    return task.judge(table, np.concatenate(answers), np.concatenate(scores) if scores else None)
