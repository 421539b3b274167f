"""Measures training on a table that is larger than memory: wall time and peak memory, in a container of a bounded size.

Two things are shown. A table that both ways can hold is trained in passes and in memory: the ratio of the wall times.
Then a large one, 30 columns and as many rows as asked for, is trained in passes in a container of 4 GiB: its peak.
Run it as `python -m tests.benchmark.large [ROWS]`, where the images are built; parts go into a temporary folder.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tests.integration.stack import base_environment

#: Rows of a part, and of the table that both ways can hold.
PART, SMALL = 1_000_000, 1_000_000
NUMBERS, TEXTS = 24, 6
MEMORY = "4g"
#: Runs the trainer, and notes the largest sum of memory that its processes held, without the files' cache.
WATCH = """
import pathlib, subprocess, sys, threading, time
peak, done = 0, False
def watch():
    global peak
    # The kernel's lists of anonymous pages hold shared memory too. The first file is that of cgroup v1.
    files = [pathlib.Path("/sys/fs/cgroup", name, "memory.stat") for name in ("memory", "")]
    file = next(file for file in files if file.exists())
    while not done:
        words = file.read_text().split()
        held = dict(zip(words[::2], map(int, words[1::2])))
        peak = max(peak, held["active_anon"] + held["inactive_anon"])
        time.sleep(0.1)
thread = threading.Thread(target=watch)
thread.start()
start = time.monotonic()
code = subprocess.run(["trainer", *sys.argv[1:]], stdout=subprocess.DEVNULL).returncode
seconds = time.monotonic() - start
done = True
thread.join()
print(f'{{"code": {code}, "seconds": {seconds:.2f}, "peak": {peak}}}')
"""


def write_parts(folder: Path, rows: int) -> None:
    """Writes a table of numbers and texts, whose target depends on some of both, in parts."""
    for place, start in enumerate(range(0, rows, PART)):
        rng = np.random.default_rng(place)
        count = min(PART, rows - start)
        numbers = rng.normal(size=(count, NUMBERS)).round(4)
        codes = rng.integers(0, [3, 12, 50, 50, 200, 1_000], size=(count, TEXTS))
        score = numbers[:, 0] - numbers[:, 1] * numbers[:, 2] + (codes[:, 1] % 5) / 4 - 1.5
        table = pd.DataFrame(numbers, columns=[f"number_{name}" for name in range(NUMBERS)])
        for name in range(TEXTS):
            words = [f"text {name} {code}" for code in range(1_000)]
            table[f"text_{name}"] = np.array(words)[codes[:, name]]
        table["target"] = (score + rng.logistic(size=count) > 0).astype(np.int8)
        table.to_parquet(folder / f"part-{place:04d}.parquet", index=False, row_group_size=100_000)


def train(folder: Path, stream: str, trees: int, memory: str) -> dict[str, Any]:
    """Trains in a container with so much memory; returns seconds and peak bytes."""
    folder.chmod(0o755)
    image = f"mlflow-replica-trainer:{base_environment()['IMAGE_TAG']}"
    limits = ["--memory", memory, "--memory-swap", memory, "--network", "none", "--tmpfs", "/tmp"]  # noqa: S108
    given = ["--data", "/data", "--target", "target", "--stream", stream, "--n-estimators", str(trees)]
    run = ["docker", "run", "--rm", *limits, "--volume", f"{folder}:/data:ro", "--entrypoint", "python3", image]
    done = subprocess.run([*run, "-c", WATCH, *given], capture_output=True, text=True, check=False)
    if done.returncode or not done.stdout:
        sys.exit(f"the container failed: {done.stderr}")
    measured: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    if measured["code"]:
        sys.exit(f"the trainer failed: {done.stderr}")
    return measured


def main() -> None:
    """Prints the table."""
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 30_000_000
    with tempfile.TemporaryDirectory() as name:
        small = Path(name) / "small"
        small.mkdir()
        write_parts(small, SMALL)
        found = {stream: train(small, stream, 100, "8g") for stream in ("never", "always")}
        for stream, way in (("never", "in memory"), ("always", "in passes")):
            one = found[stream]
            print(f"{SMALL:>12,} rows {way}: {one['seconds']:7.1f} s, peak {one['peak'] / 2**20:6,.0f} MiB", flush=True)
        ratio = found["always"]["seconds"] / found["never"]["seconds"]
        print(f"{'':>12} in passes / in memory: {ratio:.2f} (at most 1.3)", flush=True)
        large = Path(name) / "large"
        large.mkdir()
        start = time.monotonic()
        write_parts(large, rows)
        print(f"{rows:>12,} rows written in {time.monotonic() - start:.0f} s", flush=True)
        one = train(large, "auto", 20, MEMORY)
        print(
            f"{rows:>12,} rows in passes, 20 trees, container of 4 GiB: {one['seconds']:7.1f} s, peak"
            f" {one['peak'] / 2**20:6,.0f} MiB (at most 3,072)",
            flush=True,
        )


if __name__ == "__main__":
    main()
