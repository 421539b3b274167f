"""A budget of memory and processor time for several containers together: a control group that they are started in."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path("/sys/fs/cgroup")


def remove_group(name: str) -> None:
    """Removes a control group, in which nothing runs any more, from each hierarchy that the engine has put it into."""
    for group in (*ROOT.glob(f"*/{name}"), *ROOT.glob(name)):
        for below in sorted((path for path in group.rglob("*") if path.is_dir()), reverse=True):
            below.rmdir()
        group.rmdir()


class Budget:
    """A control group with a limit on memory (MiB) and processor time (cores), in either version of Linux's interface.

    Args:
        memory: MiB that all containers in it may use together, page cache included.
        cores: How many processors' time they may use together.
    """

    def __init__(self, memory: int, cores: float) -> None:
        self.name = f"replica-test-{secrets.token_hex(4)}"
        self.unified = (ROOT / "cgroup.controllers").exists()
        period = 100_000
        quota = round(period * cores)
        if self.unified:
            self.folders = [ROOT / self.name]
            limits = {"memory.max": f"{memory << 20}", "cpu.max": f"{quota} {period}"}
        else:
            self.folders = [ROOT / "memory" / self.name, ROOT / "cpu" / self.name]
            limits = {
                "memory.limit_in_bytes": f"{memory << 20}",
                "cpu.cfs_period_us": f"{period}",
                "cpu.cfs_quota_us": f"{quota}",
            }
        for folder in self.folders:
            folder.mkdir()
        if self.unified:
            (self.folders[0] / "cgroup.subtree_control").write_text("+memory +cpu +pids")
        for name, value in limits.items():
            self._file(name).write_text(value)

    def _file(self, name: str) -> Path:
        return next(folder / name for folder in self.folders if (folder / name).exists())

    def _sum(self, file: str, field: str) -> int:
        """Returns the sum of a field of a file over this group and the containers' below it."""
        texts = [path.read_text() for path in self.folders[0].rglob(file)]
        return sum(int(line.split()[1]) for text in texts for line in text.splitlines() if line.split()[0] == field)

    @property
    def peak(self) -> float:
        """The most memory that was ever in use (MiB), page cache included."""
        return int(self._file("memory.peak" if self.unified else "memory.max_usage_in_bytes").read_text()) / 2**20

    @property
    def processes(self) -> float:
        """The memory that the processes hold now (MiB), without page cache."""
        name = "anon" if self.unified else "total_rss"
        lines = (self.folders[0] / "memory.stat").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.split()[0] == name) / 2**20

    @property
    def killed(self) -> int:
        """How many processes the kernel has killed for want of memory."""
        return self._sum("memory.events" if self.unified else "memory.oom_control", "oom_kill")

    @property
    def throttled(self) -> float:
        """The seconds that the processes have waited for processor time."""
        lines = self._file("cpu.stat").read_text().splitlines()
        fields = dict(line.split()[:2] for line in lines)
        return int(fields["throttled_usec"]) / 1e6 if self.unified else int(fields["throttled_time"]) / 1e9

    def remove(self) -> None:
        """Removes the group, whose containers are gone."""
        remove_group(self.name)


@contextmanager
def budget(driver: str, memory: int, cores: float) -> Iterator[Budget]:
    """Makes a budget for the length of a `with` block; skips the test where no control group can be made."""
    if driver != "cgroupfs":
        pytest.skip(f"the engine's control groups are {driver}'s: only with the cgroupfs driver can a test make one")
    if os.geteuid() != 0:
        pytest.skip("only root can make a control group")
    made = Budget(memory, cores)
    try:
        yield made
    finally:
        made.remove()
