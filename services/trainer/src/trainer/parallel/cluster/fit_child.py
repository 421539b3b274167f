"""The process of a worker that fits its part of a model; see ``joint_fit``, which starts and ends it.

A process of its own, because LightGBM waits for the others without end when one of them is gone, and crashes when they
cannot be reached: then it is killed, and the worker goes on.
"""

from __future__ import annotations

import os
import pickle
import signal
import socket
import sys
import threading
import time
from multiprocessing.connection import Connection
from typing import Any

from trainer.util.errors import InputError, TrainerError


def free_port() -> int:
    """Return a port that nobody listens at now, on any of this machine's addresses."""
    with socket.socket() as attempt:
        attempt.bind(("", 0))
        return int(attempt.getsockname()[1])


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


def _fit(connection: Connection) -> Any:
    from trainer.training.data_parallel import model_digest

    part, work, first = (pickle.loads(connection.recv_bytes()) for _ in range(3))  # noqa: S301 - of this worker

    def meet() -> tuple[str, int]:
        port = free_port()
        connection.send(port)
        return str(connection.recv()), port

    fitted = work.fit(part, meet)
    digest = model_digest(fitted.pipeline[-1])
    return digest, fitted if first else None


def main(descriptor: int, name: str) -> None:
    """Fit, and send what came of it: an answer and no error, or the other way round.

    Args:
        descriptor: The connection to the worker.
        name: The worker's name.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    connection = Connection(descriptor)
    try:
        answer = pickle.dumps((_fit(connection), None))
    except EOFError:
        # The worker has given it up.
        os._exit(1)
    except InputError as error:
        # Of files, which may be here what they are not elsewhere.
        answer = pickle.dumps((None, InputError(f"worker {name}: {error}")))
    except TrainerError as error:
        answer = pickle.dumps((None, error))
    except MemoryError:
        answer = pickle.dumps((None, TrainerError("out of memory")))
    except Exception as error:  # noqa: BLE001 - whatever it is, the client gets it
        answer = pickle.dumps((None, TrainerError(f"{type(error).__name__}: {error}")))
    connection.send_bytes(answer)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
