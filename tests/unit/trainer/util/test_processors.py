"""The processors of this process are counted."""

from __future__ import annotations

import os

from trainer.util.processors import available_cpus


def test_at_least_one_cpu_and_no_more_than_there_are() -> None:
    assert 1 <= available_cpus() <= (os.cpu_count() or 1)
