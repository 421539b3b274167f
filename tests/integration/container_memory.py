"""What a container holds in memory and cannot give back: its processes' own pages, and files in memory (tmpfs).

The page cache is left out: the kernel drops it when the memory is needed.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import docker

if TYPE_CHECKING:
    from docker.models.containers import Container

MIB = 2**20


def held(container: Container) -> int:
    """Returns the anonymous memory and the shared memory (tmpfs) of a container, in bytes."""
    api: Any = docker.from_env().api
    details = api.stats(container.id, stream=False, one_shot=True)["memory_stats"]["stats"]
    # The kernel's lists of anonymous pages hold both. The first names are those of cgroup v1.
    return sum(int(details.get(f"total_{pages}", details.get(pages, 0))) for pages in ("active_anon", "inactive_anon"))


@dataclass
class Watch:
    """What a container held when the watch began, and the most since, in bytes."""

    before: int
    peak: int

    @property
    def growth(self) -> int:
        """How much it has grown at most, in bytes."""
        return self.peak - self.before


@contextmanager
def watched(container: Container, interval: float = 0.02) -> Iterator[Watch]:
    """Watches a container's memory during a `with` block, asking each `interval` seconds."""
    before = held(container)
    watch = Watch(before, before)
    over = threading.Event()

    def look() -> None:
        while not over.wait(interval):
            watch.peak = max(watch.peak, held(container))

    thread = threading.Thread(target=look, name="memory", daemon=True)
    thread.start()
    try:
        yield watch
    finally:
        over.set()
        thread.join()
        watch.peak = max(watch.peak, held(container))
