"""Talks to MLflow: waits for the server, creates runs exactly once, and never leaves one running.

Everything goes through MLflow's client, never through its global state, so that several runs can be open at once (a
sweep's parent beside its children). A reply can be lost. So a request is either safe to repeat, or what it was to make
is looked up before it is repeated.
"""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from trainer.tracking.active_run import BEAT, ActiveRun, end_undisturbed, sign_of_life
from trainer.tracking.errors import is_transient
from trainer.tracking.settings import limits
from trainer.tracking.tags import HEARTBEAT_TAG, KEY_TAG, PARENT_TAG
from trainer.tracking.uris import without_credentials
from trainer.util.errors import PrunedError, TrackingError
from trainer.util.heartbeat import Heartbeat
from trainer.util.signals import defer_signals
from trainer.util.text import one_line
from trainer.util.user import user_name

if TYPE_CHECKING:
    from mlflow import MlflowClient

T = TypeVar("T")


#: The tracking server's address as a cluster's worker knows it, which may be another one than its client's.
WORKER_URI = "TRAINER_WORKER_TRACKING_URI"
_CREATE_ATTEMPTS = 5
_LOCKED_ATTEMPTS = 8
#: How long a request that another process has sent may take to arrive, in seconds.
UNDER_WAY = 0.25


@dataclass(frozen=True)
class Destination:
    """Where to track: plain data that can be handed to another process, which then opens its own ``Tracking``."""

    uri: str
    experiment_id: str
    experiment: str
    ui_url: str | None = None

    def open(self) -> Tracking:
        """Return a client for this destination; sends no request."""
        return Tracking(self)

    @property
    def served(self) -> bool:
        """Whether runs go to a server, and not to a database that this process opens itself."""
        return self.uri.startswith(("http://", "https://"))

    def run_url(self, run_id: str) -> str | None:
        """Return the address of a run in the UI, or None where no server is known."""
        base = self.ui_url or (self.uri if self.served else None)
        if base is None:
            return None
        return f"{without_credentials(base).rstrip('/')}/#/experiments/{self.experiment_id}/runs/{run_id}"


@dataclass
class Tracking:
    """An open destination: creates runs and finds them again."""

    destination: Destination

    @cached_property
    def client(self) -> MlflowClient:
        """MLflow's client, which is imported here: a process whose tasks do all the tracking needs none."""
        from mlflow import MlflowClient

        uri = os.environ.get(WORKER_URI) or self.destination.uri
        return MlflowClient(tracking_uri=uri, registry_uri=uri)

    @contextmanager
    def run(
        self, name: str, tags: Mapping[str, str], *, parent: str | None = None, key: str | None = None
    ) -> Iterator[ActiveRun]:
        """Create a run, and end it with the status that fits how the block inside ended.

        FINISHED at the end; KILLED after Ctrl-C or a termination signal; FAILED after an exception, with its message as
        the tag ``failure_reason``.

        Args:
            name: The run's name.
            tags: The run's tags.
            parent: The parent run's id.
            key: Identifies the run before it has an id; made up by default.

        Raises:
            TrackingError: The run cannot be created, or cannot be ended because the server is gone.
        """
        key = key or uuid.uuid4().hex
        with self.begun(key, lambda: self.create(key, name, tags, parent)) as active:
            yield active

    @contextmanager
    def begun(self, key: str, create: Callable[[], str]) -> Iterator[ActiveRun]:
        """Have a run created, and end it as ``run`` does, unless another process has ended it.

        Args:
            key: Identifies the run before it has an id.
            create: Creates it, in this process or another one, and returns its id.

        Raises:
            TrackingError: As ``run``.
        """
        try:
            run_id = create()
        except BaseException as error:
            # A signal may have come between the server's act and its reply; or the replies were lost again and again.
            killed = isinstance(error, KeyboardInterrupt)
            status, reason = ("KILLED", None) if killed else ("FAILED", one_line(error))
            with end_undisturbed(status):
                # Another process may have sent a request that is still under way.
                time.sleep(UNDER_WAY)
                self.end_by_key(key, status, reason)
            raise
        with self._ending(ActiveRun(self, run_id, key)) as active:
            yield active

    def create(self, key: str, name: str, tags: Mapping[str, str], parent: str | None = None) -> str:
        """Create a run, and return its id; whoever calls it ends the run.

        Args:
            key: Identifies the run before it has an id.
            name: The run's name.
            tags: The run's tags.
            parent: The parent run's id.
        """
        # A cluster's worker is another user than the one whose run it is.
        all_tags = {"mlflow.user": user_name(), **tags, KEY_TAG: key, "mlflow.source.name": "trainer"}
        all_tags["mlflow.source.type"] = "LOCAL"
        all_tags[HEARTBEAT_TAG] = sign_of_life()
        if parent is not None:
            all_tags[PARENT_TAG] = parent
        run = self.create_once(
            # Databases give a run's name 250 characters.
            lambda: self.client.create_run(self.destination.experiment_id, tags=all_tags, run_name=one_line(name, 250)),
            lambda: self._find_run(key),
        )
        return str(run.info.run_id)

    @contextmanager
    def reopened(self, run_id: str) -> Iterator[ActiveRun]:
        """Go on with a run that has ended (or that another process has open), and end it as ``run`` does."""
        run = self.call(self.client.get_run, run_id)
        with self._ending(ActiveRun(self, run_id, run.data.tags.get(KEY_TAG, ""))) as active:
            # Inside: a signal may come between the server's act and its reply.
            self.call(self.client.update_run, run_id, status="RUNNING")
            active.beat()
            yield active

    def reopen(self, run_id: str) -> None:
        """Mark a run that others go on with as running again, if the server answers within a few seconds."""
        from mlflow.exceptions import MlflowException

        with suppress(MlflowException), defer_signals(), limits(retries=2, timeout=5):
            self.call(self.client.update_run, run_id, status="RUNNING")

    @contextmanager
    def _ending(self, active: ActiveRun) -> Iterator[ActiveRun]:
        try:
            with Heartbeat(active.beat, BEAT, "trainer-run"):
                yield active
        except KeyboardInterrupt as interrupt:
            if not active.end("KILLED"):
                raise TrackingError(self._gone(active.run_id)) from interrupt
            raise
        except PrunedError:
            # As MLflow's own storage for Optuna marks a pruned trial; the tag tells it from an interrupted one.
            if not active.end("KILLED"):
                raise TrackingError(self._gone(active.run_id)) from None
            raise
        except Exception as error:
            if not active.end("FAILED", reason=one_line(error)):
                raise TrackingError(f"{one_line(error)}; {self._gone(active.run_id)}") from error
            raise
        if not active.handed_over and not active.end("FINISHED", patient=True):
            raise TrackingError(self._gone(active.run_id))

    def end_by_key(self, key: str, status: str, reason: str | None = None) -> bool:
        """End the run with this key if it exists and still runs; return whether the server could be asked."""
        with end_undisturbed(status), limits(retries=1, timeout=5):
            # In here: on the command's side of a cluster this is the first import of MLflow, which takes a second.
            from mlflow.exceptions import MlflowException

            try:
                found = self._find_run(key)
            except MlflowException:
                return False
        if found is None or found.info.status not in ("RUNNING", "SCHEDULED"):
            return True
        return ActiveRun(self, found.info.run_id, key).end(status, reason=reason)

    def find(self, key: str) -> str | None:
        """Return the id of the run with this key, if there is one."""
        found = self.call(self._find_run, key)
        return None if found is None else str(found.info.run_id)

    def find_finished(self, key: str) -> Any:
        """Return the run with this key if it is FINISHED, else None."""
        found = self.call(self._find_run, key)
        return found if found is not None and found.info.status == "FINISHED" else None

    def call(self, function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        """Call a client's method; try again while another process is writing to the SQLite file."""
        from mlflow.exceptions import MlflowException

        for attempt in range(_LOCKED_ATTEMPTS):
            try:
                with self._whole():
                    return function(*args, **kwargs)
            except MlflowException as error:
                if not self._locked(error) or attempt == _LOCKED_ATTEMPTS - 1:
                    raise
                time.sleep(0.05 * 2**attempt)
        raise AssertionError("unreachable")

    def create_once(self, create: Callable[[], T], find: Callable[[], T | None]) -> T:
        """Create something exactly once, though the reply to its creation may be lost.

        Args:
            create: Asks for the creation; ``find`` is asked before it is called again.
            find: Returns what an earlier request created, or None.
        """
        from mlflow.exceptions import MlflowException

        for attempt in range(_CREATE_ATTEMPTS):
            try:
                with self._whole(), limits(retries=0):
                    return create()
            except MlflowException as error:
                if not (is_transient(error) or self._locked(error)) or attempt == _CREATE_ATTEMPTS - 1:
                    raise
            # Gives a request that is still under way time to arrive before it is looked for.
            time.sleep(0.25 * 2**attempt)
            with self._whole():
                found = find()
            if found is not None:
                return found
        raise AssertionError("unreachable")

    def _find_run(self, key: str) -> Any:
        found = self.client.search_runs(
            [self.destination.experiment_id], filter_string=f"tags.`{KEY_TAG}` = '{key}'", max_results=1
        )
        return found[0] if found else None

    def _whole(self) -> AbstractContextManager[None]:
        """Let a request to a SQLite file end before a signal takes effect.

        A transaction that is cut short may stay open. Then it locks the file, also for the request that ends the run.
        """
        return defer_signals() if self._in_file else nullcontext()

    @property
    def _in_file(self) -> bool:
        return self.destination.uri.startswith("sqlite:")

    def _locked(self, error: Exception) -> bool:
        return self._in_file and "database is locked" in str(error)

    def _gone(self, run_id: str) -> str:
        shown = without_credentials(self.destination.uri)
        return f"{shown} no longer answers: run {run_id} could not be ended and may still show as running"
