"""What a worker runs for a task: it unpacks what the task needs, and sends its answer, its reports and its questions.

The scheduler imports this module too, so it imports nothing heavy.
"""

from __future__ import annotations

import os
import pickle
import socket
import traceback
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from trainer.util.environment import environment
from trainer.util.errors import TrainerError
from trainer.util.text import one_line

if TYPE_CHECKING:
    from trainer.parallel.cluster.parcels import Parcel

#: How long a task waits for its client's answer, in seconds: it may have been suspended. One that is gone has its tasks
#: interrupted.
PATIENCE = 600.0
#: By these MLflow's client logs in.
LOGIN = ("MLFLOW_TRACKING_TOKEN", "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD")


class Channel(Protocol):
    """The way from a task's process to its client, and to the parcels."""

    def send(self, topic: str, message: list[Any]) -> None:
        """Send a message to the client that listens to this topic; does not wait."""

    def ask(self, topic: str, number: str, question: bytes, seconds: float) -> bytes:
        """Ask the client, and return its answer; nothing where none came in time."""

    def unpack(self, digest: str) -> Any:
        """Return what the parcel of this digest holds."""

    def fetch(self, digest: str) -> bytes | memoryview:
        """Return the parcel of this digest, which is not kept here."""

    def put(self, parcel: Parcel, client: str) -> None:
        """Send a parcel to the scheduler, which keeps it for a client, unless it is there."""

    def host(self) -> str:
        """Return this machine's address, as the scheduler and its other workers reach it."""


def worker_name() -> str:
    """Return this worker's name: its host, which in a container is the container's id, and its process."""
    return f"{socket.gethostname()}-{os.getpid()}"


@dataclass
class Process:
    """This worker's process: how tasks in it reach the others. ``channel`` is None in any other process."""

    channel: Channel | None = None
    #: The topic of the task that runs.
    topic: str = ""

    def ask_client(self, question: Any) -> Any:
        """Ask the process that started this task; it answers by the ``answer`` that it gave to ``map``.

        Raises:
            TrainerError: It does not answer.
            Exception: What ``answer`` has raised.
        """
        if self.channel is None:
            raise TrainerError("no cluster's worker runs this task")
        content = self.channel.ask(self.topic, uuid.uuid4().hex, pickle.dumps(question), PATIENCE)
        if not content:
            raise TrainerError(f"the process that started this task did not answer within {PATIENCE:.0f} s")
        answer, error = pickle.loads(content)  # noqa: S301 - of this cluster's client, by mutual TLS
        if error is not None:
            raise error
        return answer


PROCESS = Process()


@dataclass(frozen=True)
class Call:
    """A task as it travels."""

    task: Callable[[Any, Any], Any]
    item: Any
    #: The parcel of what all tasks share.
    shared: str
    topic: str
    #: Tells this attempt from others.
    number: int
    #: The client's login at the tracking server, as variables; None of those that are not set. Empty where it has none.
    login: Mapping[str, str | None]
    #: The client's own name at the scheduler.
    client: str


def run_remotely(content: bytes) -> None:
    """Run a task in this worker, and send its answer or its error to the client that listens."""
    channel = PROCESS.channel
    if channel is None:
        raise TrainerError("no cluster's worker runs this task")
    call: Call = pickle.loads(content)  # noqa: S301 - of this cluster's client, by mutual TLS
    PROCESS.topic = call.topic
    try:
        channel.send(call.topic, ["begun", call.number])
        channel.send(call.topic, _outcome(call, channel))
    except KeyboardInterrupt:
        # The task has tidied up, or its answer was on its way. It was given up, or this worker is about to stop.
        channel.send(call.topic, ["interrupted", call.number, b""])


def _outcome(call: Call, channel: Channel) -> list[Any]:
    """Run a task, and return the message that its client gets."""
    # Here, because the scheduler needs none of it.
    from trainer.parallel.cluster.parcels import pack_answer

    try:
        with environment(call.login):
            answer = call.task(call.item, channel.unpack(call.shared))
        return ["answer", call.number, pack_answer(answer, lambda parcel: channel.put(parcel, call.client))]
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001 - whatever a task raises is its outcome
        # For --debug: a traceback does not travel.
        error.add_note(f"On the worker {worker_name()}:\n{traceback.format_exc()}")
        return ["error", call.number, pickle.dumps(portable(error))]


def login() -> dict[str, str | None]:
    """Return this process's login at the tracking server, as it travels with a task; see ``Call``."""
    found = {name: os.environ.get(name) or None for name in LOGIN}
    return found if any(found.values()) else {}


def portable(error: BaseException) -> BaseException:
    """Return an exception that can be pickled: this one, or one of its words."""
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301 - what was just written
    except Exception:  # noqa: BLE001 - an exception that cannot travel
        return TrainerError(one_line(error))
    return error
