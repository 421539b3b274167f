"""Starts programs for tests: processes of their own, which need not import MLflow and LightGBM anew.

A start costs 2 to 4 s of processor time, nearly all of it imports. So on Linux one process, the warm server, imports
once, and each program is forked from it: a child of the test's process like any other, with a pid, signals, files and
an exit code of its own. The Python programs that it starts, and the server of its process pool, are forked likewise.
So is the server of the pools in the tests' own process.
Where the start itself is what a test is about (imports, their order, what they read from the
environment, a signal during them), the test says ``cold=True`` and gets a fresh interpreter.
"""

from __future__ import annotations

import atexit
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import IO, Any

from .warm_client import READ_LATER, SET_IN_SERVER, WarmClient, as_here, execution, make_forkserver_warm

SERVER = Path(__file__).with_name("warm_server.py")


class WarmServer:
    """The process that has imported everything, and adopts out what it forks."""

    def __init__(self) -> None:
        self._socket, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - open as long as the process
        environment = {name: value for name, value in os.environ.items() if name not in READ_LATER} | SET_IN_SERVER
        with other:
            self._process = subprocess.Popen(
                [sys.executable, str(SERVER), str(other.fileno())], pass_fds=[other.fileno()], env=environment,
                stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log,
            )  # fmt: skip
        atexit.register(self.close)
        address = self._socket.recv(64)
        assert address, self.said()
        self.client = WarmClient(address)

    def said(self) -> str:
        """Return what it has printed."""
        self._log.seek(0)
        return self._log.read().decode(errors="replace")

    def close(self) -> None:
        """End the process; what it has forked stays."""
        self._socket.close()
        self._process.wait()


@cache
def warm_server() -> WarmServer:
    """Return this process's warm server, which is started when it is first asked for."""
    return WarmServer()


# The tests' own process has pools, too.
if sys.platform == "linux":
    make_forkserver_warm(lambda: warm_server().client)


class WarmProgram(subprocess.Popen[str]):
    """A child process like any other, which has been forked by the warm server."""

    def _execute_child(self, *args: Any, **options: Any) -> None:
        """Start the program: what ``Popen`` does by fork and exec."""
        try:
            warm_server().client.execute(self, execution(self, *args, **options))
        except RuntimeError as error:
            raise RuntimeError(f"{error}: {warm_server().said()}") from error


def start(
    arguments: Sequence[object],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdin: int | IO[Any] | None = None,
    stdout: int | IO[Any] | None = subprocess.PIPE,
    stderr: int | IO[Any] | None = subprocess.PIPE,
    own_group: bool = False,
    cold: bool = False,
) -> subprocess.Popen[str]:
    """Start a Python program.

    Args:
        arguments: What comes after the interpreter: ``-m MODULE …``, ``-c CODE …`` or ``FILE …``.
        cwd: Its folder; this process's by default.
        env: Its environment; this process's by default.
        stdin: Its input, as for ``subprocess.Popen``.
        stdout: Its output.
        stderr: Its errors.
        own_group: Whether it gets a session and a process group of its own, as from a terminal.
        cold: Whether the start itself matters, so that it has to be a fresh interpreter.
    """
    warm = not cold and sys.platform == "linux" and as_here(os.environ if env is None else env)
    return (WarmProgram if warm else subprocess.Popen)(
        [sys.executable, *map(str, arguments)], cwd=cwd, env=env, stdin=stdin, stdout=stdout, stderr=stderr, text=True,
        start_new_session=own_group,
    )  # fmt: skip


def start_trainer(
    *args: object, cwd: Path, own_group: bool = False, cold: bool = False, **environment: str
) -> subprocess.Popen[str]:
    """Start the command line, without this process's settings of it; see ``start``."""
    dropped = ("TRAINER_", "MLFLOW_", "PYTHONUNBUFFERED")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
    return start(["-m", "trainer", *args], cwd=cwd, env={**kept, **environment}, own_group=own_group, cold=cold)


def run(
    arguments: Sequence[object], *, check: bool = False, timeout: float | None = None, **options: Any
) -> subprocess.CompletedProcess[str]:
    """Run a Python program to its end; see ``start``.

    Raises:
        subprocess.CalledProcessError: Its exit code is not 0, and ``check`` was asked for.
        subprocess.TimeoutExpired: It took longer than ``timeout`` seconds; it has been killed.
    """
    with start(arguments, **options) as process:
        try:
            out, err = process.communicate(timeout=timeout)
        except BaseException:
            process.kill()
            raise
    done = subprocess.CompletedProcess(process.args, process.returncode, out, err)
    if check:
        done.check_returncode()
    return done


def children(process: int) -> set[int]:
    """Return the process ids of a program's child processes (Linux), without the one that forks its warm programs."""
    listed = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    return {int(child) for child in listed if _name(child) not in ("", "warm-server\n")}


def _name(process: str) -> str:
    """Return a process's name; nothing for one that has ended meanwhile."""
    with suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{process}/comm").read_text()
    return ""
