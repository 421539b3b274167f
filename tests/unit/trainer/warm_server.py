"""The process behind ``programs``: it has imported what the trainer needs, and forks once for each program.

Run by its path, with the number of a socket: it says there at which address it listens, and ends when the other end is
closed. A connection is for one program: a message with what ``warm_client`` says of it, and its files. The answers are
the program's process id, and "adopted" when whoever asked has become its parent. Each program has a server of its own
in turn, for the programs that it starts: only a child of the one that asks can hand it a child.

A program gets what a fresh interpreter would have: its ``__main__``, arguments, path, environment, files, signals. It
ends as an interpreter does, but frees nothing of what was imported before it; see ``end``.
"""

from __future__ import annotations

import atexit
import fcntl
import gc
import importlib
import io
import json
import os
import runpy
import select
import signal
import socket
import sys
import threading
import time
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import threadpoolctl

if TYPE_CHECKING:
    from . import unsynced, warm_client
else:
    import unsynced  # noqa: F401 - imported for its effect
    import warm_client

#: What the trainer and a server of MLflow import of others, first what a sweep's processes have, in their order (see
#: ``trainer.sweeps.sweep.PRELOAD``). Nothing of the trainer's own: its modules are new in each program, which may
#: replace a function of one before another imports it.
MODULES = (
    *("numpy", "scipy.special", "skops.io", "pandas", "pyarrow.parquet", "lightgbm"),
    *("matplotlib.backends.backend_agg", "matplotlib.figure", "matplotlib.font_manager"),
    *("mlflow.models", "mlflow.pyfunc", "mlflow.sklearn", "mlflow.types.schema"),
    *("PIL.Image", "PIL.PngImagePlugin"),
    *("sklearn.compose", "sklearn.frozen", "sklearn.linear_model", "sklearn.metrics"),
    *("sklearn.model_selection", "sklearn.pipeline"),
    *("mlflow.store.tracking.sqlalchemy_store", "mlflow.store.db.utils", "sqlalchemy.orm"),
    *("click", "rich.progress", "yaml", "optuna", "distributed", "fastapi", "flask", "graphene", "uvicorn.main"),
)
#: Threads that are there after all, since their library starts them again: that of pyarrow's allocator.
_PREPARED_FOR_FORKS = frozenset({"jemalloc_bg_thd"})
#: Of a request, in bytes: arguments and environment.
ROOM = 1 << 17
#: Of a request, at most.
FILES = 16
_SET_PARENT_DEATH_SIGNAL = 1  # linux/prctl.h


def serve(number: int) -> dict[str, Any]:
    """Import, answer one request after the other, and return the request in each program's own process only."""
    # Ctrl-C is for the tests. When they are over, the socket is closed.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    clean = dict(os.environ)
    # As the trainer has it before it imports MLflow: otherwise a thread reports each use.
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    for module in MODULES:
        importlib.import_module(module)
    # What their first use would look up, in each program anew.
    sys.modules["sqlalchemy.orm"].configure_mappers()
    sys.modules["PIL.Image"].preinit()
    os.environ.clear()
    os.environ.update(clean)
    lacking = {file.read_text().strip() for file in Path("/proc/self/task").glob("*/comm")} - _PREPARED_FOR_FORKS
    if len(lacking) > 1:
        raise RuntimeError(f"imports have started threads, which a program would lack after the fork: {lacking}")
    gc.collect()
    gc.freeze()
    asker = socket.socket(fileno=number)
    listener = _listener()
    asker.send(listener.getsockname())
    watched = [asker, listener]
    while True:
        if listener not in select.select(watched, (), ())[0]:
            os._exit(0)
        connection, _ = listener.accept()
        message, files, _, _ = socket.recv_fds(connection, ROOM, FILES)
        if message and _adopted_out(connection):
            request: dict[str, Any] = json.loads(message)
            if request["session"]:
                os.setsid()
            for own in watched:
                own.close()
            listener = _listener()
            if os.fork():
                _set_name("python")
                warm_client.make_children_warm(warm_client.WarmClient(listener.getsockname()))
                listener.close()
                _dress(request, files)
                return request
            # The program's own server, which ends with it.
            warm_client.prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)
            _set_name("warm-server")
            watched = [listener]
        for file in files:
            os.close(file)
        connection.close()


def _set_name(name: str) -> None:
    """Give this process a name that /proc and ``ps`` show; see ``programs.children``."""
    Path("/proc/self/comm").write_text(name)


def _listener() -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    # The system chooses a name that is no file's.
    listener.bind("")
    listener.listen()
    return listener


def _adopted_out(connection: socket.socket) -> bool:
    """Fork, twice; return True in the grandchild, once whoever has asked is its parent."""
    between = os.fork()
    if between:
        os.waitpid(between, 0)
        connection.send(b"adopted")
        return False
    parent = os.getpid()
    program = os.fork()
    if program:
        connection.send(str(program).encode())
        os._exit(0)
    connection.close()
    while os.getppid() == parent:
        time.sleep(0.001)
    return True


def _dress(request: dict[str, Any], files: list[int]) -> None:
    """Give this process the surroundings of a program that has just started."""
    # First out of the way of the numbers that they get.
    above = [fcntl.fcntl(file, fcntl.F_DUPFD_CLOEXEC, 1000) for file in files]
    for file in files:
        os.close(file)
    for number, file in zip(request["files"], above, strict=True):
        os.dup2(file, number)
        os.close(file)
    if request["cwd"]:
        os.chdir(request["cwd"])
    # Where relative paths of a script begin, for its own child processes.
    vars(sys.modules["multiprocessing.process"])["ORIGINAL_DIR"] = str(Path.cwd())
    os.environ.clear()
    os.environ.update(request["environment"])
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in request["ignored"]:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, request["blocked"])
    sys.stdin = io.TextIOWrapper(io.BufferedReader(io.FileIO(0, closefd=False)))
    sys.stdout, sys.stderr = _stream(1, "strict"), _stream(2, "backslashreplace")
    vars(sys).update(__stdin__=sys.stdin, __stdout__=sys.stdout, __stderr__=sys.stderr)
    if threads := os.environ.get("OMP_NUM_THREADS"):
        # Read when its library is loaded.
        threadpoolctl.threadpool_limits(int(threads), user_api="openmp")
    # As `random` does by itself.
    sys.modules["numpy"].random.seed()


def _stream(number: int, errors: str) -> io.TextIOWrapper:
    raw = io.FileIO(number, "w", closefd=False)
    at_once = bool(os.environ.get("PYTHONUNBUFFERED"))
    lines = number == 2 or raw.isatty()
    buffer: Any = raw if at_once else io.BufferedWriter(raw)
    return io.TextIOWrapper(buffer, errors=errors, line_buffering=lines, write_through=at_once)


def run(arguments: list[str], path: list[str]) -> None:
    """Run what Python runs for these arguments: ``-m MODULE …``, ``-c CODE …`` or ``FILE …``.

    Args:
        arguments: What comes after the interpreter, perhaps first ``-I``.
        path: What Python searches for modules, without the program's own place and PYTHONPATH.
    """
    main = sys.modules["__main__"] = ModuleType("__main__")
    isolated = arguments[0] == "-I"
    arguments = arguments[1:] if isolated else arguments
    kind, what = (arguments[0], arguments[1]) if arguments[0] in ("-m", "-c") else ("", arguments[0])
    sys.argv = [kind, *arguments[2:]] if kind else list(arguments)
    place = {"-m": str(Path.cwd()), "-c": ""}.get(kind, str(Path(what).resolve().parent))
    extra = [folder for folder in os.environ.get("PYTHONPATH", "").split(os.pathsep) if folder]
    sys.path[:] = path if isolated else [place, *extra, *path]
    if kind == "-m":
        runpy._run_module_as_main(what)  # type: ignore[attr-defined]  # what the interpreter itself calls
    elif kind == "-c":
        exec(compile(what, "<string>", "exec"), vars(main))  # noqa: S102 - a program of the tests
    else:
        main.__file__ = str(Path(what).resolve())
        exec(compile(Path(what).read_bytes(), what, "exec"), vars(main))  # noqa: S102 - a program of the tests


def end(code: int) -> None:
    """End this process as an interpreter does: threads, exit callbacks, garbage, streams. Its modules stay as they are.

    An interpreter frees them object by object. Of a forked process, the system first copies each page of memory that
    this writes to, which takes ten times as long as the fork. Returns where a stream cannot be written: the interpreter
    says so at its own end.
    """
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    gc.collect()
    try:
        for stream in (sys.stdout, sys.stderr):
            if stream is not None and not stream.closed:
                stream.flush()
    except (OSError, ValueError):
        return
    os._exit(code)


if __name__ == "__main__":
    own_place, *rest = sys.path
    arguments = serve(int(sys.argv[1]))["arguments"]
    code: object = 0
    try:
        run(arguments, rest)
    except SystemExit as ended:
        code = ended.code
    if code is None or isinstance(code, int):
        end(code or 0)
    # Whatever else ends a program, the interpreter reports.
    sys.exit(code)  # type: ignore[arg-type]
