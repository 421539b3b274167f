"""Counts the processors that there are for this process."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path


def available_cpus() -> int:
    """Return the number of processors this process may use, container limits included; at least 1."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if hasattr(os, "process_cpu_count"):  # Python 3.13
        count = min(count, os.process_cpu_count() or count)
    with suppress(OSError, ValueError):
        # A container's limit is a share of time, which no affinity shows: "<quota> <period>" or "max <period>".
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="ascii").split()
        if quota != "max":
            count = min(count, round(int(quota) / int(period)))
    return max(count, 1)
