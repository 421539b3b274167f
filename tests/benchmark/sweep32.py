"""A sweep of 32 variants beside the ideal, the sum of its fits divided by the processors, and beside a plain loop.

    .venv/bin/python tests/benchmark/sweep32.py [TRACKING_URI]

Without a tracking URI it tracks to a SQLite file in a folder that is removed afterwards.
"""

import compileall
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import trainer
from trainer.util.processors import available_cpus

GRID = ("n_estimators=200,500", "learning_rate=0.025,0.05", "num_leaves=15,31,60,90", "min_child_samples=10,30")
#: What is promised: so much more than the ideal, and so many seconds for imports, data and the sweep's own run.
SHARE, SECONDS = 1.15, 6.0


def sweep(folder: str, *more: str) -> tuple[float, dict[str, object]]:
    """Runs the sweep as a user does; returns its wall time in seconds, and its result."""
    grid = [word for values in GRID for word in ("--grid", values)]
    command = [sys.executable, "-m", "trainer", "sweep", "--json", *grid, *more]
    begin = time.perf_counter()
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    wall = time.perf_counter() - begin
    if done.returncode:
        raise SystemExit(f"sweep32: error: {done.stderr}")
    return wall, json.loads(done.stdout)


def loop(folder: str, uri: str) -> float:
    """Trains and tracks the same variants in a plain loop; returns its wall time in seconds."""
    begin = time.perf_counter()
    command = [sys.executable, str(Path(__file__).with_name("plain_loop.py")), *GRID]
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, env={**os.environ, "MLFLOW_TRACKING_URI": uri}
    )
    if done.returncode:
        raise SystemExit(f"sweep32: error: {done.stderr}")
    return time.perf_counter() - begin


def main() -> None:
    """Measures and prints."""
    # As in the image, whatever PYTHONDONTWRITEBYTECODE says here.
    compileall.compile_dir(Path(trainer.__file__).parent, quiet=1)
    with tempfile.TemporaryDirectory(prefix="sweep32-") as folder:
        uri = sys.argv[1] if len(sys.argv) > 1 else f"sqlite:///{folder}/mlflow.db"
        wall, result = sweep(folder, "--again", "--tracking-uri", uri)
        again, _ = sweep(folder, "--tracking-uri", uri)
        looped = loop(folder, uri)
    variants = result["variants"]
    assert isinstance(variants, list)
    cores = min(available_cpus(), len(variants))
    phases = {name: sum(variant["seconds"][name] for variant in variants) for name in variants[0]["seconds"]}
    ideal = phases["fit"] / cores
    allowed = SHARE * ideal + SECONDS
    print(
        f"{len(variants)} variants on {cores} cores: wall {wall:.1f} s, allowed {SHARE} x {ideal:.1f} + {SECONDS:g} =",
        end=" ",
    )
    print(f"{allowed:.1f} s ({wall / allowed:.2f} of it); the same again, all skipped: {again:.1f} s")
    print("seconds a variant: " + ", ".join(f"{name} {total / len(variants):.2f}" for name, total in phases.items()))
    print(
        f"sum of all phases / cores: {sum(phases.values()) / cores:.1f} s; outside of them: "
        f"{wall - sum(phases.values()) / cores:.1f} s"
    )
    print(f"the same variants in a plain loop of MLflow's calls: {looped:.1f} s, {looped / wall:.1f} times as long")
    sys.exit(wall > allowed)


if __name__ == "__main__":
    main()
