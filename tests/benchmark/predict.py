"""Measures `trainer predict` beside the bare loop that a person would write around `Booster.predict`, on the same file.

Both read the same CSV file in chunks. The loop comes in two forms: with pandas' reader, as most people write it, and
with Arrow's. It does nothing but read, look category codes up and predict: it checks nothing, and writes nothing. Run
it as `python tests/benchmark/predict.py [ROWS]`, where the trainer is installed.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute
import pyarrow.csv
from trainer.data import demo
from trainer.data.demo import generate_sessions
from trainer.scoring.loaded_model import load_model
from trainer.scoring.predict import PredictRequest, predict_with
from trainer.scoring.scorers import TreeScorer
from trainer.tracking.settings import configure

ROUNDS = 3
CHUNK = 20_000


def pandas_loop(trees: TreeScorer, data: Path, threads: int) -> int:
    """Returns how many rows it scored."""
    names = sorted(trees._positions, key=trees._positions.__getitem__)
    codes = {
        name: {text: code for code, text in enumerate(known.to_pylist())} for name, known in trees._categories.items()
    }
    rows = 0
    for chunk in pd.read_csv(data, chunksize=CHUNK, dtype=dict.fromkeys(codes, "str")):
        table = chunk[names].copy()
        for name, code in codes.items():
            table[name] = table[name].map(code)
        rows += len(trees._booster.predict(table.to_numpy(dtype=np.float64), num_threads=threads))
    return rows


def arrow_loop(trees: TreeScorer, data: Path, threads: int) -> int:
    """Returns how many rows it scored."""
    names = sorted(trees._positions, key=trees._positions.__getitem__)
    types = pa.csv.ConvertOptions(column_types=dict.fromkeys(trees._categories, pa.string()))
    read = pa.csv.ReadOptions(use_threads=threads > 1)
    rows = 0
    for chunk in pa.csv.open_csv(data, read_options=read, convert_options=types):
        columns = []
        for name in names:
            column = chunk.column(name)
            if name in trees._categories:
                column = pa.compute.index_in(column, value_set=trees._categories[name])
            columns.append(column.to_numpy(zero_copy_only=False))
        rows += len(trees._booster.predict(np.column_stack(columns).astype(np.float64), num_threads=threads))
    return rows


def rate(work: Callable[[], int]) -> float:
    """Returns the rows a second of a call."""
    start = time.perf_counter()
    rows = work()
    return rows / (time.perf_counter() - start)


def main() -> None:
    """Prints the table."""
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 300_000
    configure()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        train = [sys.executable, "-m", "trainer", "--json"]
        done = subprocess.run(train, cwd=folder, capture_output=True, text=True, check=True)
        os.chdir(folder)
        data, out = folder / "data.csv", folder / "out.csv"
        generate_sessions(rows, seed=7).drop(columns=demo.TARGET).to_csv(data, index=False)
        uri = json.loads(done.stdout)["model_uri"]
        from trainer.scoring import locate

        loaded = load_model(locate.local_files(uri, folder, uri=None, wait=1), uri)
        features = loaded.features or ()
        trees = TreeScorer.of(loaded.model, features)

        def ours(jobs: int) -> int:
            # The model is there already, as it is for the loops.
            return predict_with(PredictRequest(uri, data, out, jobs=jobs), loaded).rows

        print(f"{rows:,} rows, {data.stat().st_size / 2**20:.0f} MiB; rows/s, best of {ROUNDS}")
        print(f"{'':<16}{'trainer':>12}{'pandas loop':>14}{'Arrow loop':>14}{'ratio':>8}{'ratio':>8}")
        for threads in dict.fromkeys((1, len(os.sched_getaffinity(0)))):
            best = [0.0, 0.0, 0.0]
            for _ in range(ROUNDS):
                # One after the other, so that what else the machine does meets all of them.
                for index, work in enumerate(
                    (
                        partial(ours, threads),
                        partial(pandas_loop, trees, data, threads),
                        partial(arrow_loop, trees, data, threads),
                    )
                ):
                    best[index] = max(best[index], rate(work))
            mine, pandas, arrow = best
            label = f"{threads} thread{'s' if threads > 1 else ''}"
            print(f"{label:<16}{mine:>12,.0f}{pandas:>14,.0f}{arrow:>14,.0f}{mine / pandas:>8.2f}{mine / arrow:>8.2f}")


if __name__ == "__main__":
    main()
