"""Passes a large artifact through the server and straight to the storage: prints both rates and the server's memory.

    scripts/benchmark --artifact [--storage gcs] [--mib 200] [--rounds 3]

The same file goes each way in turn, so that a slow moment of the machine hits all alike; the rates are those of the
best round. The memory is watched in a round of its own, which is not timed: watching takes the client's time. The stack
is one of its own, and removed afterwards.
"""

import argparse
import os
import signal
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

# Before the stack's module, which reads it.
ARGUMENTS = argparse.ArgumentParser()
ARGUMENTS.add_argument("--storage", choices=("minio", "gcs"), default="minio")
ARGUMENTS.add_argument("--mib", type=int, default=200, help="the artifact's size in MiB (default: 200)")
ARGUMENTS.add_argument("--rounds", type=int, default=3)
OPTIONS = ARGUMENTS.parse_args()
os.environ["TEST_STORAGE"] = OPTIONS.storage
os.environ.update(MLFLOW_DISABLE_TELEMETRY="true", MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR="false", NO_PROXY="*")
os.environ.setdefault("IMAGE_TAG", "local")

from mlflow import MlflowClient  # noqa: E402

from tests.integration.container_memory import MIB, watched  # noqa: E402
from tests.integration.stack import BUCKET, Stack  # noqa: E402


def seconds(action: Callable[[], object]) -> float:
    """Returns the wall time of an action, in seconds."""
    begin = time.perf_counter()
    action()
    return time.perf_counter() - begin


class Direct:
    """The storage's own client on this machine, with its settings as they come."""

    def __init__(self, stack: Stack) -> None:
        self._s3: Any = stack.s3(stack.minio_root) if OPTIONS.storage == "minio" else None
        self._bucket: Any = stack.gcs("mlflow-gc").bucket(BUCKET) if OPTIONS.storage == "gcs" else None

    def upload(self, file: Path, name: str) -> None:
        """Writes a file to the bucket."""
        if self._s3:
            self._s3.upload_file(str(file), BUCKET, name)
        else:
            self._bucket.blob(name).upload_from_filename(str(file))

    def download(self, name: str, file: Path) -> None:
        """Reads a file from the bucket."""
        if self._s3:
            self._s3.download_file(BUCKET, name, str(file))
        else:
            self._bucket.blob(name).download_to_filename(str(file))


def measure(stack: Stack, folder: Path) -> None:
    """Measures and prints."""
    client, direct = MlflowClient(stack.url), Direct(stack)
    server = stack.container("mlflow")
    file, back = folder / "artifact.bin", folder / "back"
    back.mkdir()
    file.write_bytes(os.urandom(OPTIONS.mib * MIB))
    run_id = client.create_run("0").info.run_id
    # The first transfer loads the storage's client, which stays.
    client.log_text(run_id, "text", "first.txt")
    client.download_artifacts(run_id, "first.txt", str(back))
    through: dict[str, list[float]] = {"upload": [], "download": []}
    straight: dict[str, list[float]] = {"upload": [], "download": []}
    growth: dict[str, float] = {}
    # The first round is the one that is watched.
    for number in range(OPTIONS.rounds + 1):
        place = f"round-{number}"
        actions: dict[str, tuple[Callable[[], object], Callable[[], object]]] = {
            "upload": (
                partial(client.log_artifact, run_id, str(file), place),
                partial(direct.upload, file, f"direct/{place}.bin"),
            ),
            "download": (
                partial(client.download_artifacts, run_id, f"{place}/{file.name}", str(back)),
                partial(direct.download, f"direct/{place}.bin", back / f"{place}.bin"),
            ),
        }
        for way, (proxied, plain) in actions.items():
            if number == 0:
                with watched(server) as memory:
                    proxied()
                growth[way] = memory.growth / MIB
                plain()
            else:
                through[way].append(seconds(proxied))
                straight[way].append(seconds(plain))
    print(f"{OPTIONS.mib} MiB, storage {OPTIONS.storage}, best of {OPTIONS.rounds} rounds")
    print(f"{'':<10} {'through the server':>20} {'straight':>14} {'ratio':>6} {'server memory':>15}")
    for way in through:
        ours, other = (OPTIONS.mib / min(times[way]) for times in (through, straight))
        print(f"{way:<10} {ours:>14.0f} MiB/s {other:>8.0f} MiB/s {ours / other:>6.2f} {growth[way]:>+10.0f} MiB")


def main() -> None:
    """Brings a stack up, measures, and removes it, also when it is told to end."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with tempfile.TemporaryDirectory(prefix="artifact-") as name:
        folder = Path(name)
        stack = Stack(folder)
        try:
            stack.compose("--profile", OPTIONS.storage, "build", timeout=1800)
            stack.up()
            measure(stack, folder)
        finally:
            stack.remove()


if __name__ == "__main__":
    main()
