"""Asks a warm server for programs: a test does, and each warm program for the Python programs that it starts itself.

Imported by its path in the warm server, so that a program has it without this package.
"""

from __future__ import annotations

import ctypes
import inspect
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from multiprocessing import util
from pathlib import Path
from typing import Any

PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h
#: Read when the interpreter starts or a library is loaded: where they differ from the warm server's, the start is cold.
_READ_AT_START = ("PYTHON", "LANG", "LC_", "TZ", "OMP_", "OPENBLAS_", "MPL", "LD_")
READ_LATER = frozenset({"PYTHONPATH", "PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE", "OMP_NUM_THREADS"})
#: What the warm server has beside the tests' environment: a library's threads would not be there after the fork, and
#: a cluster's worker gives its fits the second.
SET_IN_SERVER = {"OPENBLAS_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive"}
_HERE = {name: value for name, value in os.environ.items() if name not in SET_IN_SERVER}
#: Signals that a program ignores from its start where its parent ignores them.
_INHERITED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


class WarmClient:
    """Asks the warm server that listens at an address, a child of this process."""

    def __init__(self, address: bytes) -> None:
        self._address = address
        self._turn = threading.Lock()

    def start(
        self,
        arguments: Sequence[str],
        *,
        cwd: str,
        environment: Mapping[str, str],
        session: bool,
        files: dict[int, int],
    ) -> int:
        """Start a program as a child of this process, and return its process id.

        Args:
            arguments: What comes after the interpreter.
            cwd: The program's folder.
            environment: The program's environment.
            session: Whether it gets a session of its own.
            files: The program's open files by their numbers there: this process's numbers of the same.

        Raises:
            RuntimeError: The warm server has ended.
        """
        request = {
            "arguments": list(arguments),
            "cwd": cwd,
            "environment": dict(environment),
            "session": session,
            "files": list(files),
            "blocked": [int(number) for number in signal.pthread_sigmask(signal.SIG_BLOCK, ())],
            "ignored": [int(number) for number in _INHERITED if signal.getsignal(number) is signal.SIG_IGN],
        }
        with self._turn:
            # The program's own parent ends at once: whoever is its nearest subreaper then becomes the parent.
            prctl(PR_SET_CHILD_SUBREAPER, 1)
            try:
                with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as line:
                    line.connect(self._address)
                    socket.send_fds(line, [json.dumps(request).encode()], list(files.values()))
                    program, adopted = line.recv(64), line.recv(64)
            except OSError as error:
                raise RuntimeError("the warm server has ended") from error
            finally:
                prctl(PR_SET_CHILD_SUBREAPER, 0)
        if adopted != b"adopted":
            raise RuntimeError("the warm server has ended")
        return int(program)

    def execute(self, program: subprocess.Popen[Any], given: Mapping[str, Any]) -> None:
        """Start the program of a ``Popen``: what it does itself by fork and exec.

        Args:
            program: The object that gets the process id.
            given: The arguments of its ``_execute_child``, by their names.
        """
        pipes = {name: given[name] for name in ("p2cread", "p2cwrite", "c2pread", "c2pwrite", "errread", "errwrite")}
        ends = [given[name] for name in ("p2cread", "c2pwrite", "errwrite")]
        files = {own: end if end != -1 else own for own, end in enumerate(ends)}
        try:
            program.pid = self.start(
                list(map(str, given["args"][1:])),
                cwd=str(given["cwd"]) if given["cwd"] is not None else str(Path.cwd()),
                environment=os.environ if given["env"] is None else given["env"],
                session=bool(given.get("start_new_session", given.get("unused_start_new_session"))),
                files=files | {number: number for number in given["pass_fds"]},
            )
            vars(program)["_child_created"] = True
        finally:
            program._close_pipe_fds(**pipes)  # type: ignore[attr-defined]


def as_here(environment: Mapping[str, str]) -> bool:
    """Tell whether an environment has the same values as the warm server's of what only a fresh start would read."""
    names = {name for name in {*environment, *_HERE} if name.startswith(_READ_AT_START)} - READ_LATER
    differ = {name for name in names if environment.get(name) != _HERE.get(name)}
    return all(environment.get(name) == SET_IN_SERVER.get(name, "") for name in differ)


def execution(*arguments: Any, **options: Any) -> dict[str, Any]:
    """Return what ``Popen._execute_child`` was called with, by the parameters' names."""
    return inspect.signature(_cold_execution).bind(*arguments, **options).arguments


_cold_execution = subprocess.Popen._execute_child  # type: ignore[attr-defined]
_cold_spawn = util.spawnv_passfds


def make_children_warm(client: WarmClient) -> None:
    """Have the Python programs forked, too, that this process starts: by ``Popen``, and the process pool's server."""

    def execute(self: subprocess.Popen[Any], *arguments: Any, **options: Any) -> None:
        given = execution(self, *arguments, **options)
        environment = os.environ if given["env"] is None else given["env"]
        if given["args"][0] == sys.executable and given["preexec_fn"] is None and as_here(environment):
            client.execute(self, given)
        else:
            _cold_execution(self, *arguments, **options)

    subprocess.Popen._execute_child = execute  # type: ignore[attr-defined]
    make_forkserver_warm(lambda: client)


def make_forkserver_warm(client: Callable[[], WarmClient]) -> None:
    """Have the server forked, too, from which this process's pools fork their processes."""

    def spawn(path: Any, arguments: Sequence[Any], passed: Sequence[int]) -> int:
        # The resource tracker imports next to nothing.
        if arguments[1] != "-c" or "forkserver" not in arguments[2] or not as_here(os.environ):
            return int(_cold_spawn(path, arguments, passed))
        files = {number: number for number in (0, 1, 2, *passed)}
        return client().start(arguments[1:], cwd=str(Path.cwd()), environment=os.environ, session=False, files=files)

    vars(util)["spawnv_passfds"] = spawn


def prctl(option: int, value: int) -> None:
    """Change a property of this process (Linux).

    Raises:
        OSError: The system refuses.
    """
    if ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")
