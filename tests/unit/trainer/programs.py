"""Starts programs for tests: processes of their own, which need not import MLflow and LightGBM anew.

A start costs 2 to 4 s of processor time, nearly all of it imports. So on Linux one process, the warm server, imports
once, and each program is forked from it: a child of the test's process like any other, with a pid, signals, files and
an exit code of its own. Where the start itself is what a test is about (imports, their order, what they read from the
environment, a signal during them), the test says ``cold=True`` and gets a fresh interpreter.
"""

from __future__ import annotations

import atexit
import ctypes
import inspect
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import IO, Any

SERVER = Path(__file__).with_name("warm_server.py")
_SET_CHILD_SUBREAPER = 36  # linux/prctl.h
#: Read when the interpreter starts or a library is loaded: where they differ from the tests' own, the start is cold.
_READ_AT_START = ("PYTHON", "LANG", "LC_", "TZ", "OMP_", "OPENBLAS_", "MPL", "LD_")
_READ_LATER = frozenset({"PYTHONPATH", "PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE", "OMP_NUM_THREADS"})


class WarmServer:
    """The process that has imported everything, and adopts out what it forks."""

    def __init__(self) -> None:
        self._socket, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - open as long as the process
        self._turn = threading.Lock()
        environment = {name: value for name, value in os.environ.items() if name not in _READ_LATER}
        # A library's threads would not be there after the fork.
        environment["OPENBLAS_NUM_THREADS"] = "1"
        with other:
            self._process = subprocess.Popen(
                [sys.executable, str(SERVER), str(other.fileno())], pass_fds=[other.fileno()], env=environment,
                stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log,
            )  # fmt: skip
        atexit.register(self.close)
        assert self._socket.recv(64) == b"ready", self._said()

    def start(self, request: Mapping[str, Any], files: Sequence[int]) -> int:
        """Start a program as a child of this process, and return its process id."""
        with self._turn:
            # The program's own parent ends at once: whoever is its nearest subreaper then becomes the parent.
            _prctl(_SET_CHILD_SUBREAPER, 1)
            try:
                socket.send_fds(self._socket, [json.dumps(request).encode()], files)
                program, adopted = self._socket.recv(64), self._socket.recv(64)
            except OSError as error:
                raise RuntimeError(f"the warm server has ended: {self._said()}") from error
            finally:
                _prctl(_SET_CHILD_SUBREAPER, 0)
        assert adopted == b"adopted", self._said()
        return int(program)

    def _said(self) -> str:
        self._log.seek(0)
        return self._log.read().decode(errors="replace")

    def close(self) -> None:
        """End the process; what it has forked stays."""
        self._socket.close()
        self._process.wait()


def _prctl(option: int, value: int) -> None:
    if ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")


@cache
def warm_server() -> WarmServer:
    """Return this process's warm server, which is started when it is first asked for."""
    return WarmServer()


class WarmProgram(subprocess.Popen[str]):
    """A child process like any other, which has been forked by the warm server."""

    def _execute_child(self, *args: Any, **options: Any) -> None:
        """Start the program: what ``Popen`` does by fork and exec."""
        given = inspect.signature(subprocess.Popen._execute_child).bind(self, *args, **options).arguments  # type: ignore[attr-defined]
        pipes = {name: given[name] for name in ("p2cread", "p2cwrite", "c2pread", "c2pwrite", "errread", "errwrite")}
        request = {
            "arguments": given["args"][1:],
            "cwd": str(given["cwd"]) if given["cwd"] is not None else str(Path.cwd()),
            "environment": dict(os.environ if given["env"] is None else given["env"]),
            "session": bool(given.get("start_new_session", given.get("unused_start_new_session"))),
        }
        ends = [given[name] for name in ("p2cread", "c2pwrite", "errwrite")]
        files = [end if end != -1 else own for own, end in enumerate(ends)]
        try:
            self.pid = warm_server().start(request, files)
            self._child_created = True
        finally:
            self._close_pipe_fds(**pipes)  # type: ignore[attr-defined]


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
    warm = not cold and sys.platform == "linux" and _as_here(os.environ if env is None else env)
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


def _as_here(environment: Mapping[str, str]) -> bool:
    """Tell whether an environment has the same values as this process's of what only a fresh start would read."""
    names = {name for name in {*environment, *os.environ} if name.startswith(_READ_AT_START)} - _READ_LATER
    return all(environment.get(name) == os.environ.get(name) for name in names)
