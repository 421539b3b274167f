"""A sweep of 32 variants beside the ideal: the sum of its fits, divided by the processors.

    .venv/bin/python tests/benchmark/sweep32.py [TRACKING_URI]

Without a tracking URI it tracks to a SQLite file in a folder that is removed afterwards.
"""

import json
import subprocess
import sys
import tempfile
import time

from trainer.engine import available_cpus

GRID = ("n_estimators=200,500", "learning_rate=0.025,0.05", "num_leaves=15,31,60,90", "min_child_samples=10,30")
#: What is promised: so much more than the ideal, and so many seconds for imports, data and the sweep's own run.
SHARE, SECONDS = 1.15, 6.0


def sweep(folder: str, *more: str) -> tuple[float, dict[str, object]]:
    """Runs the sweep as a user does; returns its wall time in seconds, and its result."""
    grid = [word for values in GRID for word in ("--grid", values)]
    command = [sys.executable, "-m", "trainer.cli", "sweep", "--json", *grid, *more]
    begin = time.perf_counter()
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    wall = time.perf_counter() - begin
    if done.returncode:
        raise SystemExit(f"sweep32: error: {done.stderr}")
    return wall, json.loads(done.stdout)


def main() -> None:
    """Measures and prints."""
    tracking = ["--tracking-uri", sys.argv[1]] if len(sys.argv) > 1 else []
    with tempfile.TemporaryDirectory(prefix="sweep32-") as folder:
        wall, result = sweep(folder, "--again", *tracking)
        again, _ = sweep(folder, *tracking)
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
    sys.exit(wall > allowed)


if __name__ == "__main__":
    main()
