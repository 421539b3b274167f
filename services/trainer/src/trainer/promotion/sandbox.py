"""Tries a model in a process of its own, with bounds of time and memory, and without anybody's credentials."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from trainer.util.text import one_line

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from trainer.data.dataset import Table
    from trainer.promotion.policy import PromotionPolicy

SCRIPT = Path(__file__).with_name("sandbox_child.py")
#: The only variables that the process gets: neither the server's address nor anybody's credentials.
_KEPT = ("PATH", "HOME", "TMPDIR", "LANG", "LC_ALL", "SYSTEMROOT")
#: One thread: several on busy cores stand in each other's way, and a server gives a request one as well.
_SET = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MLFLOW_DISABLE_TELEMETRY": "true"}
_GLANCE = 0.05
#: Before each part of a table stands its size in bytes, in so many bytes.
SIZE_BYTES = 8


@dataclass(frozen=True)
class SandboxResult:
    """How the trial of a model ended: ``error`` says what failed, and is None where nothing did.

    ``seconds`` is the time from the process's start until its input example was predicted, None where that failed;
    ``peak_mib`` the memory it held at most; ``latency_ms`` the median of predictions for one row. ``classes`` and
    ``probability`` are the (rows,) predictions for the table; the latter None where the model has no probabilities of
    two classes. ``probabilities`` are those of each class, (rows, classes).
    """

    error: str | None = None
    seconds: float | None = None
    peak_mib: float | None = None
    latency_ms: float | None = None
    classes: NDArray[Any] | None = None
    probabilities: NDArray[np.float64] | None = None

    @property
    def probability(self) -> NDArray[np.float64] | None:
        """The probability of the second of two classes."""
        found = self.probabilities
        return None if found is None or found.ndim != 2 or found.shape[1] != 2 else found[:, 1]


class Sandbox:
    """The trial of a model. Making this object starts the process; ``result`` waits for its end."""

    def __init__(
        self, model: Path, folder: Path, policy: PromotionPolicy, *, table: Table | None, latency: bool
    ) -> None:
        """Start the process.

        Args:
            model: A folder in MLflow's model format.
            folder: The process's working folder, which is made.
            policy: Its ``seconds`` and ``memory_mib`` are the bounds at which the process is ended.
            table: The rows to score. The process is handed their features, part by part.
            latency: Whether to measure the latency.
        """
        folder.mkdir()
        self._folder, self._seconds, self._memory = folder, policy.seconds, policy.memory_mib
        self._peak: float | None = None
        self._killed: str | None = None
        self._unreadable: Exception | None = None
        self._started = time.monotonic()
        arguments = [str(model), "yes" if table is not None else "", "yes" if latency else "", str(folder)]
        with (folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-I", str(SCRIPT), *arguments],
                cwd=folder,
                env={**{name: os.environ[name] for name in _KEPT if name in os.environ}, **_SET},
                stdin=subprocess.DEVNULL if table is None else subprocess.PIPE,
                stdout=log,
                stderr=log,
                # Whatever the model starts is ended with it, as one group; and Ctrl-C reaches this process alone.
                start_new_session=True,
            )
        self._watch = threading.Thread(target=self._guard, name="trainer-probe", daemon=True)
        self._watch.start()
        if table is not None:
            # Nobody has to wait for the thread: it ends when the process has ended.
            feed = (table, self._process.stdin)
            threading.Thread(target=self._feed, args=feed, name="trainer-probe-rows", daemon=True).start()

    def result(self) -> SandboxResult:
        """Wait for the process to end, and return what came of it.

        Raises:
            InputError: The table cannot be read to its end.
        """
        self._watch.join()
        if self._unreadable is not None:
            raise self._unreadable
        if self._killed is not None:
            return SandboxResult(error=self._killed, peak_mib=self._peak)
        found = self._read()
        code = self._process.returncode
        if found is None or code != 0:
            how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
            return SandboxResult(error=f"its process ended with {how}{self._last_words()}", peak_mib=self._peak)
        error = one_line(f"cannot {found['stage']}: {found['error']}", 400) if "error" in found else None
        return SandboxResult(
            error=error,
            seconds=found.get("seconds"),
            peak_mib=self._peak,
            latency_ms=found.get("latency_ms"),
            classes=self._array("classes"),
            probabilities=self._array("probability"),
        )

    def end(self) -> None:
        """End the process if it still runs."""
        if self._process.poll() is None:
            self._kill("stopped")
        self._watch.join()

    def _feed(self, table: Table, pipe: IO[bytes]) -> None:
        """Hand the process the features, each part as a Parquet file behind its size."""
        # A process that has ended takes nothing more.
        with suppress(BrokenPipeError), pipe:
            try:
                for part in table.parts():
                    packed = io.BytesIO()
                    part.to_parquet(packed, index=False)
                    pipe.write(packed.tell().to_bytes(SIZE_BYTES))
                    pipe.write(packed.getbuffer())
            except BrokenPipeError:
                raise
            except Exception as error:  # noqa: BLE001 - the process would wait for more rows, or score only a part
                self._unreadable = error
                self._kill("stopped")

    def _guard(self) -> None:
        """Watch over time and memory until the process ends."""
        while True:
            try:
                self._process.wait(_GLANCE)
            except subprocess.TimeoutExpired:
                pass
            else:
                # What the model has started ends with it.
                with suppress(ProcessLookupError):
                    os.killpg(self._process.pid, signal.SIGKILL)
                return
            self._peak = _peak_mib(self._process.pid) or self._peak
            if time.monotonic() - self._started > self._seconds:
                self._kill(f"took more than {self._seconds:g} s")
            elif self._peak is not None and self._peak > self._memory:
                self._kill(f"used more than {self._memory:g} MiB of memory")

    def _kill(self, why: str) -> None:
        self._killed = self._killed or why
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def _read(self) -> Mapping[str, Any] | None:
        try:
            content: Mapping[str, Any] = json.loads((self._folder / "result.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return content

    def _array(self, name: str) -> Any:
        import numpy as np

        file = self._folder / f"{name}.npy"
        return np.load(file, allow_pickle=False) if file.exists() else None

    def _last_words(self) -> str:
        lines = (self._folder / "log").read_text(encoding="utf-8", errors="replace").split("\n")
        words = next((line for line in reversed(lines) if line.strip()), "")
        return f": {one_line(words, 200)}" if words else ""


def _peak_mib(pid: int) -> float | None:
    """Return the memory that a process has held at most, in MiB; None where the system does not tell (not Linux)."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM:")), None)
