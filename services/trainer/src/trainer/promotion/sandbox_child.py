"""Runs in a clean process: loads a model, predicts its input example, scores a table, and measures the latency.

Started by its path with ``python -I``: nothing of the command's process is there, and of this package only two
accelerators, which make the imports of a third of the processor time (5.2 s without them, 3.5 s with them: a small
model, Python 3.11). What comes of it goes to files in the folder named last.
"""

from __future__ import annotations

import importlib.util
import io
import json
import logging
import os
import sys
import time
import traceback
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

#: Predictions of one row: these come before the clock runs, and so many are timed, within so many seconds.
WARM_UP, TIMED, TIMED_SECONDS = 5, 100, 1.0
ACCELERATORS = Path(__file__).parents[1] / "accelerators"


def accelerate(name: str) -> None:
    """Run an accelerator for its effect, by its file: the package it belongs to is not imported."""
    spec = importlib.util.spec_from_file_location(name, ACCELERATORS / f"{name}.py")
    if spec is None or spec.loader is None:
        raise FileNotFoundError(ACCELERATORS / f"{name}.py")
    spec.loader.exec_module(importlib.util.module_from_spec(spec))


def main(model_folder: str, table: str, latency: str, folder: str) -> None:
    """Write ``result.json`` and, where a table is given, ``classes.npy`` and ``probability.npy``.

    Args:
        model_folder: A folder in MLflow's model format.
        table: "yes" where the features of a table come in, part by part (``Sandbox``).
        latency: "yes" to measure the latency of predictions of one row.
        folder: The folder to write to.
    """
    warnings.simplefilter("ignore")
    logging.disable(logging.ERROR)
    out: dict[str, Any] = {}
    # What the model may start does not get them.
    parts = os.fdopen(os.dup(0), "rb")
    with Path(os.devnull).open("rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    started = time.monotonic()
    accelerate("garbage_collection")
    accelerate("lazy_modules")
    try:
        out["stage"] = "load"
        import mlflow.pyfunc

        model = mlflow.pyfunc.load_model(model_folder)
        out["stage"] = "predict its input example"
        example = model.metadata.load_input_example(model_folder)
        if example is None:
            raise ValueError("it has no input example")
        _check(model.predict(example), len(example))
        out["seconds"] = time.monotonic() - started
        if table:
            out["stage"] = "score the test data"
            _score(model, _tables(parts), Path(folder))
        if latency:
            out["stage"] = "predict one row"
            out["latency_ms"] = 1000 * _median_seconds(model, example.head(1))
        del out["stage"]
    except Exception as error:  # noqa: BLE001 - whatever a model's own code raises
        traceback.print_exc()
        out["error"] = f"{type(error).__name__}: {error}"
    finally:
        (Path(folder) / "result.json").write_text(json.dumps(out), encoding="utf-8")


def _check(answer: Any, rows: int) -> None:
    import numpy as np

    values = np.asarray(answer)
    if len(values) != rows:
        raise ValueError(f"{len(values)} predictions for {rows} rows")
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise ValueError("a prediction is not a finite number")


def _tables(parts: BinaryIO) -> Iterator[Any]:
    """Yield the tables that come in: each is a Parquet file, behind its size in 8 bytes."""
    import pandas as pd

    while size := parts.read(8):
        yield pd.read_parquet(io.BytesIO(parts.read(int.from_bytes(size))))


def _score(model: Any, tables: Iterable[Any], folder: Path) -> None:
    import numpy as np

    answers, probabilities = [], []
    raw = model.get_raw_model()
    for features in tables:
        classes = np.asarray(model.predict(features))
        if classes.dtype == object:
            # Texts, which a file without pickled objects holds in an array of their own type.
            classes = classes.astype(str)
        _check(classes, len(features))
        answers.append(classes)
        if hasattr(raw, "predict_proba"):
            probabilities.append(np.asarray(raw.predict_proba(features)))
    np.save(folder / "classes.npy", np.concatenate(answers), allow_pickle=False)
    if probabilities:
        np.save(folder / "probability.npy", np.concatenate(probabilities), allow_pickle=False)


def _median_seconds(model: Any, row: Any) -> float:
    import statistics

    for _ in range(WARM_UP):
        model.predict(row)
    times: list[float] = []
    end = time.perf_counter() + TIMED_SECONDS
    while len(times) < TIMED and (time.perf_counter() < end or not times):
        start = time.perf_counter()
        model.predict(row)
        times.append(time.perf_counter() - start)
    return statistics.median(times)


if __name__ == "__main__":
    main(*sys.argv[1:])
