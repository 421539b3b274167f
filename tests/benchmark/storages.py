"""The standard sweep with artifacts in the emulated Cloud Storage, beside the same sweep with MinIO.

    scripts/benchmark --storages [ROUNDS]

Both stacks run, and take turns. They are of their own, and removed afterwards.
"""

import contextlib
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
FILES = {"minio": ("compose.yaml",), "gcs": ("compose.yaml", "compose.gcs-emulator.yaml")}
PORTS = ("MLFLOW_PORT", "MINIO_PORT", "MINIO_CONSOLE_PORT", "GCS_EMULATOR_PORT", "GCS_EMULATOR_ADMIN_PORT")


def compose(storage: str, *arguments: str) -> None:
    """Runs docker compose on one of the stacks; exits with what it printed when it fails."""
    files = [word for name in FILES[storage] for word in ("--file", name)]
    settings = {"COMPOSE_PROFILES": storage, "GCS_BUCKET": "rehearsal", **dict.fromkeys(PORTS, "0")}
    done = subprocess.run(
        ["docker", "compose", "--project-name", f"mlflow-replica-benchmark-{storage}", *files, *arguments],
        cwd=ROOT,
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise SystemExit(f"storages: error: {' '.join(arguments)}\n{done.stdout}{done.stderr}")


def main() -> None:
    """Measures and prints."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 4
    times: dict[str, list[float]] = {storage: [] for storage in FILES}
    with contextlib.ExitStack() as stacks:
        for storage in FILES:
            stacks.callback(compose, storage, "down", "--volumes", "--remove-orphans")
            compose(storage, "--profile", storage, "--profile", "trainer", "build")
            compose(storage, "up", "--detach", "--wait")
        for _ in range(rounds):
            for storage, taken in times.items():
                begin = time.perf_counter()
                compose(storage, "run", "--rm", "--no-deps", "-T", "trainer", "sweep", "--again", "--no-register")
                taken.append(time.perf_counter() - begin)
    middle = {storage: statistics.median(taken) for storage, taken in times.items()}
    print(
        f"standard sweep, median of {rounds}: "
        + ", ".join(f"{storage} {seconds:.1f} s" for storage, seconds in middle.items())
        + f"; gcs is {middle['gcs'] / middle['minio']:.2f} of minio (allowed 1.25)"
    )


if __name__ == "__main__":
    main()
