"""How many threads a fit uses when no other fit runs beside it; the result does not depend on it.

Fits side by side have one thread each: several threads of each would wait for one another.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

from trainer.util.processors import available_cpus

if TYPE_CHECKING:
    from trainer.config.variant import Variant
    from trainer.data.dataset import Dataset

#: Values of the training table (rows times columns) from which several threads gain more than they cost.
LARGE = 4_000_000


def threads_alone(variant: Variant, dataset: Dataset) -> int:
    """Return how many threads the only fit of a command takes: of a large table, as many as processors are free."""
    if variant.other is not None or not is_large(dataset):
        return 1
    threads = free_cpus()
    if threads > 1 and "lightgbm" not in sys.modules:
        # Threads that wait for one another sleep: they would take the processors from each other.
        # OpenMP looks at it once, when it is loaded.
        os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    return threads


def is_large(dataset: Dataset) -> bool:
    """Tell whether several threads gain more on a training table than they cost."""
    return dataset.train.rows * len(dataset.column_types) >= LARGE


def free_cpus() -> int:
    """Return how many of this process's processors others left free in the last minute; at least 1.

    On busy processors several threads are slower than one, since each waits for the slowest.
    """
    others = 0
    with suppress(AttributeError, OSError):  # not Windows
        # One of those that ran is this process, which has read the table.
        others = round(max(os.getloadavg()[0] - 1, 0))
    return max(min(available_cpus(), (os.cpu_count() or 1) - others), 1)
