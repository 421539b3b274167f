"""Shares the test files out among the processes of ``--dist each``, for `scripts/test --quick`.

Each file is for one process: the others save its import, and what it imports. pytest-xdist's own way to share tests out
has each process import all files. Shares take equally long, going by the seconds that each file took the last time.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

#: Where pytest keeps the seconds of each file for the next time.
CACHE_KEY = "sharing/seconds"


def shares(files: Sequence[str], count: int, seconds: Mapping[str, float]) -> list[list[str]]:
    """Share files out, so that all shares take about equally long.

    Args:
        files: The files.
        count: The number of shares.
        seconds: How long each file's tests take; a file that is not among them counts as one of the usual length.
    """
    usual = sum(seconds.values()) / len(seconds) if seconds else 1.0
    found: list[list[str]] = [[] for _ in range(count)]
    lengths = [0.0] * count
    # The longest first; those that are left then level what differs.
    for file in sorted(files, key=lambda file: (-seconds.get(file, usual), file)):
        shortest = lengths.index(min(lengths))
        found[shortest].append(file)
        lengths[shortest] += seconds.get(file, usual)
    return found


class Sharing:
    """Tells each process which files are its own, and notes how long they take: a plugin of the process above them.

    Args:
        config: pytest's.
        files: All test files, by their paths from the root.
    """

    def __init__(self, config: pytest.Config, files: Sequence[str]) -> None:
        self._config, self._files = config, files
        self._last: dict[str, float] = config.cache.get(CACHE_KEY, {})
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._tests = 0

    def pytest_configure_node(self, node: Any) -> None:
        """Name the process's own files."""
        number, count = int(node.workerinput["workerid"].removeprefix("gw")), node.workerinput["workercount"]
        node.workerinput["own_files"] = shares(self._files, count, self._last)[number]

    def pytest_xdist_node_collection_finished(self, ids: Sequence[str]) -> None:
        """Count the tests of all processes."""
        self._tests += len(ids)

    def pytest_sessionstart(self, session: pytest.Session) -> None:
        """Remember the session."""
        self._session = session

    def pytest_runtest_logstart(self) -> None:
        """Have the progress go by all tests; pytest-xdist takes those of one process for all."""
        self._session.testscollected = self._tests

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Add up a file's seconds."""
        self._seconds[report.nodeid.partition("::")[0]] += report.duration

    def pytest_sessionfinish(self) -> None:
        """Keep the seconds."""
        known = {file: seconds for file, seconds in (self._last | self._seconds).items() if file in self._files}
        self._config.cache.set(CACHE_KEY, known)


def is_anothers(path: Path, config: pytest.Config) -> bool:
    """Tell whether a file is for another process."""
    own = getattr(config, "workerinput", {}).get("own_files")
    return own is not None and path.is_file() and path.relative_to(config.rootpath).as_posix() not in own
