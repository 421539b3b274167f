"""Listens, and serves in one process or in several on one port.

Each process follows the champion by itself. They are forked before anything heavy is loaded, from a process that only
watches over them: one that dies is started anew, and what ends the watcher ends them all.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from threading import Event, Thread
from typing import TYPE_CHECKING, Any

from trainer.util.errors import InputError, TrainerError

if TYPE_CHECKING:
    from trainer.serving.application import Serving
    from trainer.serving.exposition import Exposition

#: Seconds before a process that crashed is started anew.
_PAUSE = 1.0


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


def serve(application: Serving, listener: socket.socket, exposition: Exposition | None = None) -> None:
    """Serve in this process until a signal ends it; what has been asked by then is answered."""
    import uvicorn

    if exposition is not None:
        exposition.start()
    config = uvicorn.Config(application, log_level="error", access_log=False, timeout_graceful_shutdown=20)
    # uvicorn raises the signal again when it has ended: what a server is told to do is no error of its own.
    with suppress(KeyboardInterrupt):
        uvicorn.Server(config).run(sockets=[listener])


def serve_in_workers(
    count: int, make: Callable[[int], Serving], listener: socket.socket, exposition: Exposition | None = None
) -> None:
    """Serve in several processes until a signal ends this one.

    Args:
        count: How many.
        make: Makes what serves in a process, whose number is below ``count``; one that takes a dead one's place has
            its number.
        listener: The port.
        exposition: The metrics' port, at which any of the processes answers.

    Raises:
        TrainerError: A process ended by itself, or processes cannot be forked here.
    """
    if not hasattr(os, "fork"):
        raise InputError("--workers: this system cannot fork processes; use 1")
    started: dict[int, int] = {}
    ending = Event()
    # Nothing is written to it. Its writing end is this process's alone, and closes when this process ends or is killed.
    lifeline = os.pipe()

    def end(*_signal: Any) -> None:
        ending.set()
        for pid in list(started):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)

    kept = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGINT)}
    code = 0
    try:
        while True:
            while len(started) < count and not ending.is_set():
                number = min(set(range(count)) - set(started.values()))
                pid = _start(lambda number=number: make(number), listener, lifeline, exposition)  # type: ignore[misc]
                started[pid] = number
            if ending.is_set():
                # One may have been started while the signal came.
                end()
            if not started:
                break
            pid, status = os.wait()
            started.pop(pid, None)
            if ending.is_set():
                continue
            code = os.waitstatus_to_exitcode(status)
            if code >= 0:
                # It ended by itself, and has said why: another one would too.
                end()
            else:
                # Killed, or crashed. A pause, in case the next one crashes as well.
                ending.wait(_PAUSE)
    finally:
        end()
        for number, handler in kept.items():
            signal.signal(number, handler)
        for end_of_it in lifeline:
            os.close(end_of_it)
    if code > 0:
        raise TrainerError("a process that serves has ended, and so have the others")


def _start(
    make: Callable[[], Serving], listener: socket.socket, lifeline: tuple[int, int], exposition: Exposition | None
) -> int:
    """Fork a process that serves, until ``lifeline`` is closed at its other end; return its id."""
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
        reading, writing = lifeline
        os.close(writing)
        Thread(target=_end_with_parent, args=(reading,), daemon=True).start()
        serve(make(), listener, exposition)
        code = 0
    except TrainerError as error:
        print(f"trainer: error: {error}", file=sys.stderr, flush=True)
        code = error.exit_code
    finally:
        # Nothing of the process that was forked is to run twice.
        sys.stdout.flush()
        os._exit(code)


def _end_with_parent(lifeline: int) -> None:
    os.read(lifeline, 1)
    os.kill(os.getpid(), signal.SIGTERM)
