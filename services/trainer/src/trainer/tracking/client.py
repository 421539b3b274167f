"""Talks to MLflow: waits for the server, creates runs exactly once, and never leaves one running.

Everything goes through MLflow's client, never through its global state, so that several runs can be open at once (a
sweep's parent beside its children). Where a reply can be lost, what was asked for is either safe to ask again or is
looked up first.
"""

from __future__ import annotations

import logging
import os
import time
import uuid
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from trainer.util.errors import InputError, PrunedError, TrackingError, disk_full, one_line
from trainer.util.signals import held_back, uninterrupted

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import DatasetInput, Metric

T = TypeVar("T")

EMBEDDED_URI = "sqlite:///mlflow.db"
#: The server's name in the composed stack's network, which nobody but that stack's containers knows.
COMPOSED_URI = "http://mlflow:5000"
ARTIFACT_FOLDER = "mlartifacts"

#: Identifies a run (or model) before the server has given it an id: looked for when the reply to its creation is lost.
KEY_TAG = "trainer.key"
FAILURE_TAG = "failure_reason"
PARENT_TAG = "mlflow.parentRunId"

_CREATE_ATTEMPTS = 5
#: Files that are uploaded side by side.
_UPLOADS = 4
_LOCKED_ATTEMPTS = 8

# Docker makes it in each container.
_CONTAINER = Path("/.dockerenv")
_REFUSED, _UNKNOWN_HOST = "connection refused", "the host name is not known"

#: MLflow's own settings, unless the user has set them: retries end after about half a minute, long enough for a server
#: to restart and short enough to wait for; nothing is sent to anyone else; output is the trainer's own.
_SETTINGS = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "5",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_BACKOFF_JITTER": "0.25",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "60",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "GIT_PYTHON_REFRESH": "quiet",
}


def configure(debug: bool = False) -> None:
    """Set MLflow up for a command: bounded retries, no telemetry, and no log lines of its own unless debugging."""
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    if not debug:
        # MLflow and Alembic configure their loggers when they are imported or first used; this holds whatever they do.
        # What goes wrong is raised as well, and reported by the trainer.
        logging.disable(logging.ERROR)
        warnings.simplefilter("ignore")


@dataclass(frozen=True)
class Target:
    """Where to track: plain data that can be handed to another process, which then opens its own ``Tracking``."""

    uri: str
    experiment_id: str
    experiment: str
    ui_url: str | None = None

    def open(self) -> Tracking:
        """Return a client for this target; sends no request."""
        from mlflow import MlflowClient

        return Tracking(self, MlflowClient(tracking_uri=self.uri, registry_uri=self.uri))

    def run_url(self, run_id: str) -> str | None:
        """Return the address of a run in the UI, or None where no server is known."""
        base = self.ui_url or (self.uri if self.uri.startswith(("http://", "https://")) else None)
        if base is None:
            return None
        return f"{without_credentials(base).rstrip('/')}/#/experiments/{self.experiment_id}/runs/{run_id}"


def connect(uri: str | None, experiment: str, *, wait: float = 30.0, ui_url: str | None = None) -> Target:
    """Wait for the server, and return the target with its experiment, which is created where it does not exist.

    Args:
        uri: The tracking URI; None for a SQLite file in the working directory.
        experiment: The experiment's name.
        wait: How many seconds to wait for a server that cannot be reached.
        ui_url: The base of links to the UI where it differs from ``uri``.

    Raises:
        TrackingError: The server stays out of reach, or refuses; a refusal is reported at once.
    """
    from mlflow.exceptions import MlflowException

    uri = absolute(uri or EMBEDDED_URI)
    shown = without_credentials(uri)
    client = new_client(uri)
    found = _wait_for(lambda: client.get_experiment_by_name(experiment), shown, wait)
    try:
        found = found or _create_experiment(client, uri, experiment)
    except MlflowException as error:
        raise failure(error) from error
    if found.lifecycle_stage != "active":
        raise TrackingError(
            f"experiment {experiment!r} is deleted; restore it (mlflow experiments restore -x {found.experiment_id})"
            " or name another one with --experiment"
        )
    return Target(uri, found.experiment_id, experiment, ui_url)


def reach(uri: str, wait: float) -> MlflowClient:
    """Wait for a server, and return a client that has had an answer from it.

    Args:
        uri: The tracking URI.
        wait: How many seconds to wait for a server that cannot be reached.

    Raises:
        TrackingError: The server stays out of reach, or refuses; a refusal is reported at once.
    """
    client = new_client(absolute(uri))
    _wait_for(lambda: client.search_experiments(max_results=1), without_credentials(uri), wait)
    return client


def look_up(uri: str | None, ask: Callable[[MlflowClient], T], *, wait: float = 30.0) -> tuple[str, T]:
    """Wait for the server, ask it something, and create nothing; return its URI and the answer.

    Args:
        uri: The tracking URI; None for the SQLite file in the working directory.
        ask: A question that is safe to ask again.
        wait: How many seconds to wait for a server that cannot be reached.

    Raises:
        InputError: There is no such SQLite file.
        TrackingError: The server stays out of reach, or refuses.
    """
    uri = absolute(uri or EMBEDDED_URI)
    path = _sqlite_file(uri)
    if path is not None and not path.exists():
        # To look something up would create the file, empty.
        raise InputError(f"{path}: no such file; name the MLflow server or file with --tracking-uri")
    client = new_client(uri)
    return uri, _wait_for(lambda: ask(client), without_credentials(uri), wait)


@contextmanager
def as_default(uri: str | None) -> Iterator[None]:
    """Make ``uri`` MLflow's own default for a while: some of its functions know no other way to a model.

    Args:
        uri: The tracking URI; None leaves the default as it is.
    """
    import mlflow

    if uri is None:
        yield
        return
    names = ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI")
    before = {name: os.environ.get(name) for name in names}
    mlflow.set_tracking_uri(uri)
    mlflow.set_registry_uri(uri)
    try:
        yield
    finally:
        # Not set, as it was: what was set before stands in the environment too.
        mlflow.set_tracking_uri(None)  # type: ignore[arg-type]
        mlflow.set_registry_uri(None)  # type: ignore[arg-type]
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def without_credentials(uri: str) -> str:
    """Return a URI without the user and password it may hold, fit to be shown."""
    parts = urlsplit(uri)
    if "@" not in parts.netloc:
        return uri
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


@dataclass
class Tracking:
    """An open target: creates runs and finds them again."""

    target: Target
    client: MlflowClient

    @contextmanager
    def run(
        self, name: str, tags: Mapping[str, str], *, parent: str | None = None, key: str | None = None
    ) -> Iterator[ActiveRun]:
        """Create a run, and end it with the status that what happens inside calls for.

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
        all_tags = {**tags, KEY_TAG: key, "mlflow.user": user(), "mlflow.source.name": "trainer"}
        all_tags["mlflow.source.type"] = "LOCAL"
        if parent is not None:
            all_tags[PARENT_TAG] = parent
        try:
            run_id = self._create_run(name, all_tags, key)
        except BaseException as error:
            # A signal may have come between the server's act and its reply; or the replies were lost again and again.
            self.end_by_key(key, "KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED")
            raise
        with self._ending(ActiveRun(self, run_id, key)) as active:
            yield active

    @contextmanager
    def reopened(self, run_id: str) -> Iterator[ActiveRun]:
        """Go on with a run that has ended (or that another process has open), and end it as ``run`` does."""
        run = self.call(self.client.get_run, run_id)
        with self._ending(ActiveRun(self, run_id, run.data.tags.get(KEY_TAG, ""))) as active:
            # Inside: a signal may come between the server's act and its reply.
            self.call(self.client.update_run, run_id, status="RUNNING")
            yield active

    def reopen(self, run_id: str) -> None:
        """Mark a run that others go on with as running again, if the server answers within a few seconds."""
        from mlflow.exceptions import MlflowException

        with suppress(MlflowException), held_back(), limits(retries=2, timeout=5):
            self.call(self.client.update_run, run_id, status="RUNNING")

    @contextmanager
    def _ending(self, active: ActiveRun) -> Iterator[ActiveRun]:
        try:
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
        if not active.end("FINISHED", patient=True):
            raise TrackingError(self._gone(active.run_id))

    def end_by_key(self, key: str, status: str, reason: str | None = None) -> bool:
        """End the run with this key if it exists and still runs; return whether the server could be asked."""
        from mlflow.exceptions import MlflowException

        try:
            with _ending(status), limits(retries=1, timeout=5):
                found = self._find_run(key)
        except MlflowException:
            return False
        if found is None or found.info.status not in ("RUNNING", "SCHEDULED"):
            return True
        return ActiveRun(self, found.info.run_id, key).end(status, reason=reason)

    def call(self, function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        """Call a client's method, with patience for a SQLite file that another process is writing to."""
        from mlflow.exceptions import MlflowException

        for attempt in range(_LOCKED_ATTEMPTS):
            try:
                return function(*args, **kwargs)
            except MlflowException as error:
                if not self._locked(error) or attempt == _LOCKED_ATTEMPTS - 1:
                    raise
                time.sleep(0.05 * 2**attempt)
        raise AssertionError("unreachable")

    def create_once(self, create: Callable[[], T], find: Callable[[], T | None]) -> T:
        """Create something exactly once, though the reply to its creation may be lost.

        Args:
            create: Asks for the creation; never sent twice in a row.
            find: Returns what an earlier request created, or None.
        """
        from mlflow.exceptions import MlflowException

        for attempt in range(_CREATE_ATTEMPTS):
            try:
                with limits(retries=0):
                    return create()
            except MlflowException as error:
                if not (_transient(error) or self._locked(error)) or attempt == _CREATE_ATTEMPTS - 1:
                    raise
            # Gives a request that is still under way time to arrive before it is looked for.
            time.sleep(0.25 * 2**attempt)
            if (found := find()) is not None:
                return found
        raise AssertionError("unreachable")

    def _create_run(self, name: str, tags: dict[str, str], key: str) -> str:
        run = self.create_once(
            # Databases give a run's name 250 characters.
            lambda: self.client.create_run(self.target.experiment_id, tags=tags, run_name=one_line(name, 250)),
            lambda: self._find_run(key),
        )
        return str(run.info.run_id)

    def _find_run(self, key: str) -> Any:
        found = self.client.search_runs(
            [self.target.experiment_id], filter_string=f"tags.`{KEY_TAG}` = '{key}'", max_results=1
        )
        return found[0] if found else None

    def _locked(self, error: Exception) -> bool:
        return self.target.uri.startswith("sqlite:") and "database is locked" in str(error)

    def _gone(self, run_id: str) -> str:
        shown = without_credentials(self.target.uri)
        return f"{shown} no longer answers: run {run_id} could not be ended and may still show as running"


@dataclass
class ActiveRun:
    """A run that is under way. Its methods send as few requests as MLflow's interface allows."""

    tracking: Tracking
    run_id: str
    key: str
    pending_model: str | None = field(default=None, init=False)

    @property
    def client(self) -> MlflowClient:
        """MLflow's client."""
        return self.tracking.client

    def log(
        self,
        metrics: Sequence[Metric] = (),
        params: Mapping[str, Any] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """Log metrics, parameters and tags together; MLflow's client splits them as its limits demand.

        A request that is sent again after a lost reply is stored once.

        Args:
            metrics: See ``figures`` and ``history``.
            params: Parameters; values are logged as text.
            tags: Tags.
        """
        from mlflow.entities import Param, RunTag

        self.tracking.call(
            self.client.log_batch,
            self.run_id,
            metrics=metrics,
            params=[Param(name, str(value)) for name, value in (params or {}).items()],
            tags=[RunTag(name, value) for name, value in (tags or {}).items()],
            # Whatever MLFLOW_ENABLE_ASYNC_LOGGING says: a failure must show here.
            synchronous=True,
        )

    def log_inputs(self, datasets: list[DatasetInput]) -> None:
        """Log the data sets that went in."""
        from mlflow.exceptions import MlflowException

        try:
            self.tracking.call(self.client.log_inputs, self.run_id, datasets=datasets)
        except MlflowException as error:
            if _transient(error):
                raise
            # Two runs that register the same data at the same moment collide once; the second time it is there.
            self.tracking.call(self.client.log_inputs, self.run_id, datasets=datasets)

    def log_files(self, folder: Path) -> None:
        """Upload a folder's contents as the run's artifacts."""
        self._upload(self.client.log_artifact, self.run_id, folder)

    @contextmanager
    def model(self, name: str, params: Mapping[str, Any]) -> Iterator[LoggedModel]:
        """Create a logged model of this run; what happens inside uploads it, then it is made ready.

        Args:
            name: The model's name, under which ``runs:/<run_id>/<name>`` finds it.
            params: Shown as the model's parameters.
        """
        from mlflow.entities import LoggedModelOutput

        target = self.tracking.target
        created = self.tracking.create_once(
            lambda: self.client.create_logged_model(
                target.experiment_id,
                name=name,
                source_run_id=self.run_id,
                tags={KEY_TAG: self.key},
                params={key: str(value) for key, value in params.items()},
            ),
            lambda: self._find_model(name),
        )
        self.pending_model = created.model_id
        yield LoggedModel(self, created.model_id, created.artifact_location)
        self.tracking.create_once(
            lambda: (self.client.log_outputs(self.run_id, [LoggedModelOutput(created.model_id, step=0)]), True)[1],
            lambda: self.has_output(created.model_id) or None,
        )
        self.tracking.call(self.client.finalize_logged_model, created.model_id, "READY")
        self.pending_model = None

    def end(self, status: str, *, reason: str | None = None, patient: bool = False) -> bool:
        """End the run and return whether that worked.

        Args:
            status: FINISHED, FAILED or KILLED.
            reason: Why the run failed, kept as a tag.
            patient: Retry as long as for any other request; else give up after a few seconds.
        """
        from mlflow.exceptions import MlflowException

        with _ending(status), limits(**({} if patient else {"retries": 2, "timeout": 5})):
            try:
                if self.pending_model is not None:
                    with suppress(MlflowException):
                        self.tracking.call(self.client.finalize_logged_model, self.pending_model, "FAILED")
                if reason is not None:
                    self.log(tags={FAILURE_TAG: reason})
                self.tracking.call(self.client.set_terminated, self.run_id, status)
            except MlflowException:
                return False
        return True

    def _find_model(self, name: str) -> Any:
        filters = f"name = '{name}' AND source_run_id = '{self.run_id}'"
        found = self.client.search_logged_models([self.tracking.target.experiment_id], filters, max_results=1)
        return found[0] if found else None

    def has_output(self, model_id: str) -> bool:
        """Tell whether the run names a logged model as its own."""
        outputs = self.client.get_run(self.run_id).outputs
        return outputs is not None and any(output.model_id == model_id for output in outputs.model_outputs)

    def _upload(self, upload: Callable[[str, str, str | None], None], owner: str, folder: Path) -> None:
        """Upload a folder's files side by side: MLflow by itself waits for the answer to each before the next."""

        def send(file: Path) -> None:
            place = file.parent.relative_to(folder).as_posix()
            self.tracking.call(upload, owner, str(file), None if place == "." else place)

        first, *others = sorted(file for file in folder.rglob("*") if file.is_file())
        try:
            # Alone, because MLflow then asks where the artifacts go, and remembers.
            send(first)
            with ThreadPoolExecutor(_UPLOADS) as pool:
                for _ in pool.map(send, others):
                    pass
        except OSError as error:
            # Requests' own errors are OSErrors too, without a file's name.
            where = f" ({error.filename})" if getattr(error, "filename", None) else ""
            what = error.strerror or one_line(error)
            raise TrackingError(f"cannot store artifacts{where}: {what}") from error


@dataclass(frozen=True)
class LoggedModel:
    """A logged model that is being uploaded."""

    run: ActiveRun
    model_id: str
    location: str

    def upload(self, folder: Path) -> None:
        """Upload a folder in MLflow's model format."""
        self.run._upload(self.run.client.log_model_artifact, self.model_id, folder)


def history(name: str, values: Sequence[float]) -> list[Metric]:
    """Return a metric's history: one value an iteration, counted from 1."""
    from mlflow.entities import Metric

    now = _milliseconds()
    return [Metric(name, value, now, step) for step, value in enumerate(values, start=1)]


def figures(values: Mapping[str, float], *, step: int = 0, **links: str) -> list[Metric]:
    """Return metrics of one value each.

    Args:
        values: The values by name.
        step: Where in a history they stand; of several values MLflow shows that of the last step, and there the latest.
        links: ``run_id``, ``model_id``, ``dataset_name`` and ``dataset_digest``: what the values belong to.
    """
    from mlflow.entities import Metric

    now = _milliseconds()
    return [Metric(name, value, now, step, **links) for name, value in values.items()]


def failure(error: Exception) -> TrackingError:
    """Return an exception that MLflow raised as the trainer's own, with a message of one line."""
    if isinstance(error, TrackingError):
        return error
    if (full := disk_full(error)) is not None:
        return TrackingError(full)
    if (refusal := _refusal(error)) is not None:
        return TrackingError(f"the tracking server refuses: {refusal}")
    return TrackingError(f"tracking failed: {_reason(error)}")


# Waiting and retrying -------------------------------------------------------------------------------------------------


def _wait_for(ask: Callable[[], T], shown: str, wait: float) -> T:
    """Return the answer to a real request; retry for ``wait`` seconds while the server is out of reach."""
    from mlflow.exceptions import MlflowException

    deadline = time.monotonic() + wait
    pause = 0.25
    while True:
        try:
            with limits(retries=0, timeout=max(1, min(10, round(wait)))):
                return ask()
        except MlflowException as error:
            if (refusal := _refusal(error)) is not None:
                raise TrackingError(f"{shown} refuses: {refusal}") from error
            left = deadline - time.monotonic()
            if not _transient(error):
                raise TrackingError(f"{shown}: {_reason(error)}") from error
            if left <= 0:
                reason = _reason(error)
                raise TrackingError(
                    f"cannot reach {shown} after {wait:g} s (--wait): {reason}{_hint(shown, reason)}"
                ) from error
            time.sleep(min(pause, left))
            pause = min(2 * pause, 2.0)
        except (OSError, ValueError, TypeError) as error:
            raise TrackingError(f"{shown}: {one_line(error)}") from error


def _hint(uri: str, reason: str) -> str:
    """Return what is most likely wrong with an address where nothing is."""
    # Any other reason means that something is there.
    if reason not in (_REFUSED, _UNKNOWN_HOST):
        return ""
    if uri.rstrip("/") == COMPOSED_URI:
        return "; is the stack up? (docker compose up --detach --wait)"
    if urlsplit(uri).hostname in ("localhost", "127.0.0.1", "::1") and _CONTAINER.exists():
        return (
            "; inside a container that is the container itself:"
            " name the server as its network knows it, or run this on the machine (scripts/verify, uv run trainer)"
        )
    return ""


def new_client(uri: str) -> MlflowClient:
    """Return a client; sends no request, but opens a database.

    Raises:
        TrackingError: The URI cannot be used, or the database not be opened.
    """
    from mlflow import MlflowClient

    shown = without_credentials(uri)
    try:
        with _alone(uri):
            return MlflowClient(tracking_uri=uri, registry_uri=uri)
    except Exception as error:  # a database's driver has errors of its own
        if "maintenance mode" in str(error):
            raise TrackingError(
                f"{shown} is a folder, which MLflow no longer tracks to; use a server, or a file such as {EMBEDDED_URI}"
            ) from error
        raise TrackingError(f"cannot use the tracking URI {shown}: {one_line(error)}") from error


def _create_experiment(client: MlflowClient, uri: str, name: str) -> Any:
    from mlflow.exceptions import MlflowException

    try:
        # Safe to retry: a second creation of the same name is refused.
        client.create_experiment(name, artifact_location=_artifact_location(uri, name))
    except MlflowException as error:
        if "already exists" not in str(error).lower() and "unique" not in str(error).lower():
            raise TrackingError(f"cannot create experiment {name!r}: {_reason(error)}") from error
    found = client.get_experiment_by_name(name)
    if found is None:
        raise TrackingError(f"experiment {name!r} was created but cannot be found")
    return found


def _refusal(error: Exception) -> str | None:
    """Return why the server refuses and what to do about it, or None where it does not refuse."""
    text, status = str(error), _status(error)
    if "invalid host header" in text.lower():
        return (
            "403 Invalid Host header; add this host name and port to the server's MLFLOW_SERVER_ALLOWED_HOSTS,"
            " or use a name it allows"
        )
    if status == 401:
        return "401, it asks for a login; set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD (or _TOKEN)"
    if status == 403:
        return f"403, this user may not use it; {_reason(error)}"
    if status == 404 or "not in a valid JSON format" in text or "Response body: '<" in text:
        return "it does not answer as an MLflow server does; check the tracking URI"
    return None


def _status(error: Exception) -> int | None:
    """Return the HTTP status of the server's answer, or None where there was no answer."""
    import re

    if type(error).__name__ == "RestException":
        return int(error.get_http_status_code())  # type: ignore[attr-defined]
    if match := re.search(r"failed with error code (\d{3})", str(error)):
        return int(match[1])
    return None


def _transient(error: Exception) -> bool:
    """Tell whether a request may have failed on the way: no answer, or one that says to come back."""
    status = _status(error)
    if status is not None:
        return status in (408, 429) or status >= 500
    text = str(error)
    return "API request to" in text and (" failed with exception" in text or "timeout" in text)


def _reason(error: Exception) -> str:
    """Return the heart of MLflow's message, which wraps three layers of exceptions into one text."""
    import re

    text = one_line(error, 2_000)
    for pattern, words in (
        (r"Connection refused", _REFUSED),
        (
            r"Name or service not known|nodename nor servname|Temporary failure in name resolution|NameResolutionError",
            _UNKNOWN_HOST,
        ),
        (r"No route to host|Network is unreachable", "the network does not reach it"),
        (r"timed? ?out", "it does not answer in time"),
        (r"RemoteDisconnected|Connection aborted|Connection reset", "it closes the connection"),
        (r"CERTIFICATE_VERIFY_FAILED", "its certificate cannot be verified; set MLFLOW_TRACKING_SERVER_CERT_PATH"),
        (r"too many (\d{3}) error responses", "it answers with server errors; the server's log says why"),
    ):
        if re.search(pattern, text, re.IGNORECASE):
            return words
    return one_line(text, 300)


def _ending(status: str) -> AbstractContextManager[None]:
    """Keep signals from what ends a run; the first of them takes effect afterwards, others are ignored."""
    return uninterrupted() if status == "KILLED" else held_back()


@contextmanager
def limits(*, retries: int | None = None, timeout: int | None = None) -> Iterator[None]:
    """Bound MLflow's retries and time-outs for a while; it reads these settings at each request."""
    wanted = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": retries, "MLFLOW_HTTP_REQUEST_TIMEOUT": timeout}
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update({name: str(value) for name, value in wanted.items() if value is not None})
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


# Names and places -----------------------------------------------------------------------------------------------------


def absolute(uri: str) -> str:
    """Return a SQLite URI with an absolute path, so that it means the same file in every process."""
    prefix = "sqlite:///"
    if not uri.startswith(prefix) or uri == prefix or ":memory:" in uri:
        return uri
    path, mark, query = uri.removeprefix(prefix).partition("?")
    return f"{prefix}{Path(path).absolute()}{mark}{query}"


@contextmanager
def _alone(uri: str) -> Iterator[None]:
    """Let one process at a time open a SQLite file: MLflow makes its tables, and two that do so at once fail."""
    file = _sqlite_file(uri)
    with ExitStack() as held:
        # Where there is no such lock (Windows, some network file systems) things are as without it.
        with suppress(ImportError, OSError):
            import fcntl

            if file is not None:
                # The folder's own lock: no file is left behind.
                folder = os.open(file.parent, os.O_RDONLY)
                held.callback(os.close, folder)
                fcntl.flock(folder, fcntl.LOCK_EX)
        yield


def _sqlite_file(uri: str) -> Path | None:
    """Return the file that a SQLite URI names; None for any other URI."""
    prefix = "sqlite:///"
    if not uri.startswith(prefix) or ":memory:" in uri:
        return None
    return Path(unquote(uri.removeprefix(prefix).partition("?")[0]))


def _artifact_location(uri: str, experiment: str) -> str | None:
    """Return where a new experiment's artifacts go: beside a SQLite file; elsewhere the server knows."""
    file = _sqlite_file(uri)
    if file is None:
        return None
    return (file.parent / ARTIFACT_FOLDER / quote(experiment, safe=" ")).absolute().as_uri()


def user() -> str:
    """Return the name, or else the number, of the user that this process is."""
    import getpass

    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):
        return str(os.getuid())


def _milliseconds() -> int:
    return time.time_ns() // 1_000_000
