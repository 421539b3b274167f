"""A sign of life, given again and again by a thread of its own: whoever misses it knows that the process is gone."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress


class Heartbeat:
    """Calls a function at an interval while what is inside runs; the first time after one interval.

    A call that fails is followed by the next one: only a silence of several beats means anything.

    Args:
        beat: Gives the sign.
        interval: Seconds between two.
        name: The thread's.
        patience: Seconds to wait, at the end, for a call that is under way.
    """

    def __init__(self, beat: Callable[[], object], interval: float, name: str, patience: float = 0) -> None:
        self._beat, self._interval, self._patience = beat, interval, patience
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def __enter__(self) -> Heartbeat:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._thread.join(self._patience)

    def _run(self) -> None:
        while not self._over.wait(self._interval):
            with suppress(Exception):
                self._beat()
