"""Dask's settings for scheduler, workers and clients: deaths are noticed soon, and nothing unread is kept."""

from __future__ import annotations

from typing import Any

#: A machine that vanishes without a word is given up after this.
WORKER_TTL = "30s"

_SETTINGS: dict[str, Any] = {
    "distributed.comm.require-encryption": True,
    "distributed.comm.timeouts.connect": "10s",
    "distributed.comm.timeouts.tcp": "30s",
    # A task that was lost is told to its client at once, which decides whether it starts again.
    "distributed.scheduler.allowed-failures": 0,
    "distributed.scheduler.worker-ttl": WORKER_TTL,
    "distributed.scheduler.work-stealing": False,
    "distributed.scheduler.active-memory-manager.start": False,
    # Reports and answers pass through the scheduler's topics, which would keep the last thousand of each.
    "distributed.admin.low-level-log-length": 20,
    "distributed.admin.tick.limit": "1h",
    # By default each process wakes up 50 times a second to see whether it is late, and reads figures that nobody sees.
    "distributed.admin.tick.interval": "1s",
    "distributed.admin.system-monitor.interval": "10s",
    "distributed.worker.profile.enabled": False,
    # A container's limit ends a worker that needs too much; a paused one would never go on.
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
    "distributed.worker.memory.terminate": False,
    # By HTTP there is the style of the dashboard's pages alone: no logs, no proxy to the workers, nothing
    # that changes something.
    "distributed.scheduler.http.routes": ["distributed.http.statics"],
    # Once the dashboard has been visited, the scheduler keeps what it shows of so many tasks: 100,000 by default.
    "distributed.scheduler.dashboard.tasks.task-stream-length": 5_000,
    "distributed.client.preload": [],
}


def configure_dask() -> None:
    """Set Dask up for this process, whatever files and variables of its own say."""
    import dask

    dask.config.set(_SETTINGS)
