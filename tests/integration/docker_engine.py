"""A Docker engine of the test's own, in namespaces apart, that can lose its power; the machine's own is not touched."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from .resource_budget import remove_group

# Runs in the namespaces. /sys has to show this network's devices; the control groups, which are below it, are kept.
BOOT = """
set -e
ip link set lo up
mkdir -p {folder}/cgroup
mount --rbind /sys/fs/cgroup {folder}/cgroup
mount -t sysfs none /sys
mount --rbind {folder}/cgroup /sys/fs/cgroup
exec dockerd {options}
"""


class Engine:
    """A dockerd with its containerd, shims and containers, all of which end with it.

    Args:
        folder: Where its data are; what is there survives a loss of power.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.address = f"unix://{folder}/docker.sock"
        self.log = (folder / "dockerd.log").open("ab")
        self.process: subprocess.Popen[bytes] | None = None

    def boot(self) -> None:
        """Starts the engine and waits until it answers."""
        # What a reboot leaves of /run: nothing.
        shutil.rmtree(self.folder / "run", ignore_errors=True)
        (self.folder / "run").mkdir()
        options = {
            "data-root": self.folder / "data",
            "exec-root": self.folder / "run",
            "pidfile": self.folder / "run" / "docker.pid",
            "host": self.address,
            # Whatever runs the machine: systemd's driver would want a slice's name.
            "exec-opt": "native.cgroupdriver=cgroupfs",
            "cgroup-parent": f"/{self.folder.name}",
        }
        line = " ".join(f"--{name}={value}" for name, value in options.items())
        script = BOOT.format(folder=self.folder, options=line)
        apart = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
        self.process = subprocess.Popen([*apart, "sh", "-c", script], stdout=self.log, stderr=self.log)
        deadline = time.monotonic() + 60
        while self.docker("info", check=False).returncode != 0:
            assert self.process.poll() is None, self.tail()
            assert time.monotonic() < deadline, self.tail()
            time.sleep(0.2)

    def tail(self) -> str:
        """Returns the end of the engine's log."""
        return (self.folder / "dockerd.log").read_text()[-3000:]

    def docker(self, *args: str, check: bool = True) -> subprocess.CompletedProcess[bytes]:
        """Runs a docker command on this engine."""
        return subprocess.run(["docker", "--host", self.address, *args], capture_output=True, timeout=300, check=check)

    def load(self, *images: str) -> None:
        """Copies images from the machine's engine."""
        with subprocess.Popen(["docker", "save", *images], stdout=subprocess.PIPE) as save:
            subprocess.run(
                ["docker", "--host", self.address, "load", "--quiet"],
                stdin=save.stdout,
                capture_output=True,
                check=True,
            )
        assert save.returncode == 0

    def lose_power(self) -> None:
        """Kills the engine and everything that it has started, at once.

        The kernel does so when a PID namespace's first process dies; `unshare` ends when all are gone.
        """
        assert self.process is not None
        pid = self.process.pid
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            os.kill(int(child), signal.SIGKILL)
        self.process.wait(60)

    def remove(self) -> None:
        """Ends it and removes what it leaves: its data and its control groups."""
        if self.process is not None and self.process.poll() is None:
            self.lose_power()
        self.log.close()
        remove_group(self.folder.name)
        shutil.rmtree(self.folder)


@contextmanager
def private_engine(folder: Path) -> Iterator[Engine]:
    """Makes an engine for the length of a `with` block; skips the test where none can be made."""
    if os.geteuid() != 0:
        pytest.skip("only root can start an engine of its own")
    if missing := [name for name in ("dockerd", "unshare", "ip", "mount") if shutil.which(name) is None]:
        pytest.skip(f"not installed here: {', '.join(missing)}")
    engine = Engine(folder)
    try:
        engine.boot()
        yield engine
    finally:
        engine.remove()
