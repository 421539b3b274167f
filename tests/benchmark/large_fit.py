"""Measures the fit of one large table: with one thread, with all processors, and plain LightGBM, in turns.

Run it as `python tests/benchmark/large_fit.py [ROWS]`, where the trainer is installed. The first two must come to the
same model. Only the fit counts: no file is read, nothing is tracked.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

from trainer.config.selection_metric import DEFAULT_METRIC
from trainer.config.variant import complete_params
from trainer.data.dataset import Dataset
from trainer.data.sources import load_data
from trainer.training.encoding import Encoding, encoder
from trainer.training.fit_work import FitWork
from trainer.training.pipeline import fit_pipeline
from trainer.training.validation_split import split_validation
from trainer.util.processors import available_cpus

ROUNDS = 3


def trainers(dataset: Dataset, threads: int) -> str:
    """Fit as `trainer train` does; return the model's text."""
    fitting, validation = split_validation(dataset, seed=42, validation_size=0.2)
    rows = Encoding(dataset, fitting)
    work = FitWork(complete_params(), dataset, 42, DEFAULT_METRIC)
    fitted = fit_pipeline(work, rows, validation, threads=threads)
    return str(fitted.pipeline[-1].booster_.model_to_string())


def plain(dataset: Dataset, threads: int) -> str:
    """Fit LightGBM's own estimator with the same trees, watched on the same rows by the same metrics."""
    import lightgbm

    fitting, validation = split_validation(dataset, seed=42, validation_size=0.2)
    encode = encoder(dataset)
    given: dict[str, Any] = {name: value for name, value in complete_params().items() if value is not None}
    classify = lightgbm.LGBMClassifier(**given, n_jobs=threads, verbosity=-1)
    classify.fit(
        encode.fit_transform(fitting.features),
        fitting.target,
        eval_X=encode.transform(validation.features),
        eval_y=validation.target,
        eval_metric=["average_precision", "binary_logloss"],
    )
    return ""


def main() -> None:
    # As `trainer train` has it of a large table; plain LightGBM gains from it as well on a busy machine.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    dataset = load_data(rows=rows)
    cpus = available_cpus()
    ways: dict[str, Callable[[], str]] = {
        "the trainer, 1 thread": lambda: trainers(dataset, 1),
        f"the trainer, {cpus} threads": lambda: trainers(dataset, cpus),
        f"plain LightGBM, {cpus} threads": lambda: plain(dataset, cpus),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    work: dict[str, list[float]] = {name: [] for name in ways}
    models: dict[str, str] = {}
    for _ in range(ROUNDS):
        for name, fit in ways.items():
            begin, used = time.perf_counter(), time.process_time()
            models[name] = fit()
            seconds[name].append(time.perf_counter() - begin)
            work[name].append(time.process_time() - used)
    one, several, _ = models.values()
    print(f"{dataset.train.rows:,} rows of {len(dataset.column_types)} columns")
    print(f"same model with 1 and {cpus} threads: {one == several}")
    print(f"load {os.getloadavg()[0]:.1f}")
    first = statistics.median(seconds["the trainer, 1 thread"])
    for name, times in seconds.items():
        median, busy = statistics.median(times), statistics.median(work[name])
        print(f"{name:32} {median:6.1f} s ({median / first:.2f}), {busy:.1f} s of processors")


if __name__ == "__main__":
    main()
