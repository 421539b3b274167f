"""Listens, and serves in one process or in several on one port.

Each process follows the champion by itself. They are forked before anything heavy is loaded, from a process that only
watches over them: one that dies is started anew, and what ends the watcher ends them all.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from threading import Event
from typing import TYPE_CHECKING, Any

from trainer.util.errors import InputError, TrainerError

if TYPE_CHECKING:
    from trainer.serving.application import Serving

#: Seconds. A process that lived for less than this failed at its start; another one would too.
_BRIEF = 2.0


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that is bound.

    Raises:
        InputError: Nothing can listen there.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        # With its protocol named: asyncio turns Nagle's algorithm off for no other socket, and answers 40 ms late.
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        raise InputError(f"cannot listen on {host}:{port}: {error.strerror or error}; choose another --port") from error
    return listener


def serve(application: Serving, listener: socket.socket) -> None:
    """Serve in this process until a signal ends it; what has been asked by then is answered."""
    import uvicorn

    config = uvicorn.Config(application, log_level="error", access_log=False, timeout_graceful_shutdown=20)
    uvicorn.Server(config).run(sockets=[listener])


def serve_in_workers(count: int, make: Callable[[], Serving], listener: socket.socket) -> None:
    """Serve in several processes until a signal ends this one.

    Raises:
        TrainerError: A process ended at its start, or processes cannot be forked here.
    """
    if not hasattr(os, "fork"):
        raise InputError("--workers: this system cannot fork processes; use 1")
    started: dict[int, float] = {}
    ending = Event()

    def end(*_signal: Any) -> None:
        ending.set()
        for pid in started:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)

    kept = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGINT)}
    failed: str | None = None
    try:
        while len(started) < count and not ending.is_set():
            started[_start(make, listener)] = time.monotonic()
        if ending.is_set():
            # One may have been started while the signal came.
            end()
        while started:
            pid, status = os.wait()
            if (begun := started.pop(pid, None)) is None or ending.is_set():
                continue
            if time.monotonic() - begun < _BRIEF:
                failed = f"a process that serves ended at its start, with {os.waitstatus_to_exitcode(status)}"
                end()
            else:
                started[_start(make, listener)] = time.monotonic()
                if ending.is_set():
                    end()
    finally:
        end()
        for number, handler in kept.items():
            signal.signal(number, handler)
    if failed is not None:
        raise TrainerError(failed)


def _start(make: Callable[[], Serving], listener: socket.socket) -> int:
    """Fork a process that serves; return its id."""
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    pid = os.fork()
    if pid:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        return pid
    code = 1
    try:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        serve(make(), listener)
        code = 0
    except TrainerError as error:
        print(f"trainer: error: {error}", file=sys.stderr, flush=True)
        code = error.exit_code
    finally:
        # Nothing of the process that was forked is to run twice.
        sys.stdout.flush()
        os._exit(code)
