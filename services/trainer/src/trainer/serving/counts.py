"""Counts what a process serves, for Prometheus: requests, rows, scores, and texts that the model does not know.

Counting costs a request a few microseconds: plain numbers in this process, which it writes into a file of its own
every few seconds. Whoever is asked for the metrics adds the files up. A process that takes a dead one's place goes on
with its file, so that the total never falls.
"""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from trainer.serving.champion import Champion
    from trainer.serving.own_model import Reply

#: The upper bounds of the histograms: seconds of a request, and probabilities.
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0)
SCORES = tuple(step / 20 for step in range(1, 21))
REQUESTS, ROWS, UNSEEN = "requests", "rows", "unseen_texts"
TOOK, SCORED = "request_seconds", "scores"
MODELS, FAILING = "processes", "failing_processes"
#: Each metric's labels and what it is.
COUNTERS = {
    REQUESTS: (("path", "status"), "Requests that are over; those of status 4xx and 5xx were refused."),
    ROWS: (("model",), "Rows that one of the trainer's own models has scored."),
    UNSEEN: (("model", "column"), "Texts that the model does not know, which count as missing."),
}
HISTOGRAMS: dict[str, tuple[tuple[str, ...], str, tuple[float, ...]]] = {
    TOOK: (("path",), "How long a request takes, from its header to the end of its answer.", SECONDS),
    SCORED: (("model",), "The probabilities that one of the trainer's own models has given.", SCORES),
}
GAUGES = {
    MODELS: (("model",), "Processes that serve this model."),
    FAILING: ((), "Processes whose last look at the alias failed: the champion cannot be loaded, or found."),
}
_PATHS = frozenset(("/invocations", "/ping", "/health", "/version"))
#: A metric's name and its labels' values.
Key = tuple[str, ...]


@dataclass
class Totals:
    """Numbers by metric and labels. A histogram's are one for each bound, one for what is above, and the sum."""

    counters: dict[Key, float] = field(default_factory=dict)
    histograms: dict[Key, list[float]] = field(default_factory=dict)
    gauges: dict[Key, float] = field(default_factory=dict)

    @classmethod
    def read(cls, file: Path) -> Totals:
        """Return what a process has written; nothing where it has not yet."""
        with suppress(FileNotFoundError):
            parts: list[list[tuple[list[str], Any]]] = json.loads(file.read_text())
            return cls(*({tuple(key): value for key, value in part} for part in parts))
        return cls()

    def text(self) -> str:
        """Return this as JSON."""
        return json.dumps([list(part.items()) for part in (self.counters, self.histograms, self.gauges)])

    def add(self, other: Totals) -> None:
        """Add another process's."""
        for mine, theirs in ((self.counters, other.counters), (self.gauges, other.gauges)):
            for key, number in theirs.items():
                mine[key] = mine.get(key, 0) + number
        for key, numbers in other.histograms.items():
            before = self.histograms.get(key, [0] * len(numbers))
            self.histograms[key] = [one + more for one, more in zip(before, numbers, strict=True)]


def total(files: Iterable[Path]) -> Totals:
    """Return what these processes have counted together."""
    found = Totals()
    for file in files:
        found.add(Totals.read(file))
    return found


class Counts:
    """What this process counts. It is used by the event loop's thread alone."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._totals = Totals.read(file)
        # The processes of a former one are gone.
        self._totals.gauges = {}
        self._changed = True
        # What a request or a score is counted by, once it has been.
        self._requests: dict[tuple[str, int], tuple[Key, list[float]]] = {}
        self._scores: dict[str, list[float]] = {}

    def request(self, path: str, status: int, seconds: float) -> None:
        """Count a request that is over."""
        path = path if path in _PATHS else "other"
        found = self._requests.get((path, status))
        if found is None:
            # To put a key together costs more than to count.
            found = self._requests[path, status] = (REQUESTS, path, str(status)), self._of((TOOK, path), SECONDS)
        key, numbers = found
        counters = self._totals.counters
        counters[key] = counters.get(key, 0) + 1
        numbers[bisect_left(SECONDS, seconds)] += 1
        numbers[-1] += seconds
        self._changed = True

    def reply(self, model: str, reply: Reply) -> None:
        """Count what an answer was made of."""
        if not reply.rows:
            return
        scores = reply.scores
        self._add((ROWS, model), reply.rows)
        if scores is None:
            # Numbers have no bounds in common.
            pass
        elif len(scores) == 1:
            score = scores.item(0)
            numbers = self._scores.get(model)
            if numbers is None:
                numbers = self._scores[model] = self._of((SCORED, model), SCORES)
            numbers[bisect_left(SCORES, score)] += 1
            numbers[-1] += score
        else:
            self._observe_all((SCORED, model), scores)
        for column, number in (reply.unseen or {}).items():
            self._add((UNSEEN, model, column), number)

    def look(self, champion: Champion) -> None:
        """Note which model is served, and whether the last look at the alias failed."""
        gauges: dict[Key, float] = {(FAILING,): float(champion.failing)}
        if champion.loaded is not None:
            gauges[MODELS, champion.loaded.uri] = 1
        if gauges != self._totals.gauges:
            self._totals.gauges = gauges
            self._changed = True

    def write(self) -> None:
        """Write what has changed since the last time into this process's file."""
        if self._changed:
            self._changed = False
            # Whoever reads it meets the former file, or the new one.
            new = self._file.with_suffix(".new")
            new.write_text(self._totals.text())
            new.replace(self._file)

    def _add(self, key: Key, number: float) -> None:
        counters = self._totals.counters
        counters[key] = counters.get(key, 0) + number
        self._changed = True

    def _of(self, key: Key, bounds: Sequence[float]) -> list[float]:
        return self._totals.histograms.setdefault(key, [0] * (len(bounds) + 2))

    def _observe_all(self, key: Key, values: NDArray[Any]) -> None:
        import numpy as np

        numbers = self._of(key, SCORES)
        found = np.bincount(np.searchsorted(SCORES, values), minlength=len(SCORES) + 1)
        for place, number in enumerate(found.tolist()):
            numbers[place] += number
        numbers[-1] += float(values.sum())
