"""Brings everything of a store into a server: experiments, runs, logged models, registered versions, aliases.

Each thing carries the id of what it was made from, as `push` marks it: the same command finds what is there, finishes
what was interrupted, and leaves the rest alone. Versions come last, when their runs and models are whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from trainer.tracking.client import Tracking
from trainer.tracking.connection import connect, wait_for_server
from trainer.tracking.errors import is_missing, tracking_error
from trainer.tracking.paging import pages
from trainer.tracking.tags import PARENT_TAG
from trainer.transfer.import_run import RunCopy
from trainer.transfer.import_versions import import_versions
from trainer.transfer.stores import Store
from trainer.util.errors import InputError, TrackingError
from trainer.util.text import one_line

if TYPE_CHECKING:
    from mlflow.entities import Experiment, LoggedModel, Run

Say = Callable[[str], None]


@dataclass
class Imported:
    """What came of it: how many of each were brought in now, and were there before; and what was left out, and why."""

    experiments: int = 0
    runs: int = 0
    runs_before: int = 0
    models: int = 0
    versions: int = 0
    versions_before: int = 0
    aliases: int = 0
    files: int = 0
    bytes: int = 0
    left_out: list[str] = field(default_factory=list)
    #: The copies' ids by the sources'.
    run_ids: dict[str, str] = field(default_factory=dict)
    model_ids: dict[str, str] = field(default_factory=dict)

    def leave_out(self, what: str, say: Say) -> None:
        """Note what is not brought in."""
        self.left_out.append(what)
        say(f"left out: {what}")


def import_store(source: Store, to_uri: str, wait: float, say: Say = lambda _text: None) -> Imported:
    """Bring a store into a server.

    Args:
        source: The store.
        to_uri: The server.
        wait: How many seconds to wait for a server that cannot be reached.
        say: Called with what is being done.

    Raises:
        InputError: The server is the source.
        TrackingError: A server cannot be reached, refuses or fails, or what arrived is not what was sent.
    """
    from mlflow.exceptions import MlflowException

    imported = Imported()
    try:
        for experiment in pages(source.client.search_experiments):
            _import_experiment(source, experiment, to_uri, wait, imported, say)
        import_versions(source, wait_for_server(to_uri, wait), to_uri, imported, say)
    except MlflowException as error:
        raise tracking_error(error) from error
    except OSError as error:
        raise TrackingError(f"cannot copy artifacts: {error.strerror or one_line(error)}") from error
    return imported


def _import_experiment(
    source: Store, experiment: Experiment, to_uri: str, wait: float, imported: Imported, say: Say
) -> None:
    client, place = source.client, [experiment.experiment_id]
    runs: list[Run] = list(pages(client.search_runs, place))
    models: list[LoggedModel] = list(_models(source, experiment.experiment_id))
    if not runs and not models and experiment.name == "Default":
        return
    destination = connect(to_uri, experiment.name, wait=wait)
    tracking = destination.open()
    _refuse_the_source_itself(tracking, runs)
    say(f"experiment {experiment.name}: {len(runs)} runs")
    imported.experiments += 1
    there = tracking.client.get_experiment(destination.experiment_id).tags
    for name, value in experiment.tags.items():
        if name not in there:
            tracking.call(tracking.client.set_experiment_tag, destination.experiment_id, name, value)
    for run in _parents_first(runs):
        if run.info.status in ("RUNNING", "SCHEDULED"):
            imported.leave_out(f"run {run.info.run_id} ({run.info.run_name}): it has not ended", say)
            continue
        own = [model for model in models if model.source_run_id == run.info.run_id]
        copy = RunCopy(source, tracking, run, own, imported.run_ids)
        created = copy.bring()
        imported.run_ids[run.info.run_id] = copy.run_id
        imported.model_ids |= copy.model_ids
        imported.runs += created
        imported.runs_before += not created
        imported.models += len(own) if created else 0
        imported.files += copy.files
        imported.bytes += copy.bytes
        for what in copy.left_out:
            imported.leave_out(what, say)
    known = {run.info.run_id for run in runs}
    for model in models:
        if model.source_run_id not in known:
            imported.leave_out(f"logged model {model.model_id} ({model.name}): it belongs to no run", say)


def _models(source: Store, experiment_id: str) -> Iterator[LoggedModel]:
    from mlflow.exceptions import MlflowException

    try:
        yield from pages(source.client.search_logged_models, experiment_ids=[experiment_id])
    except MlflowException as error:
        # A server of MLflow 2 has none.
        if not is_missing(error):
            raise


def _refuse_the_source_itself(tracking: Tracking, runs: list[Run]) -> None:
    from mlflow.exceptions import MlflowException

    for run in runs[:1]:
        try:
            tracking.client.get_run(run.info.run_id)
        except MlflowException as error:
            if is_missing(error):
                return
            raise
        raise InputError(f"the server holds run {run.info.run_id} itself: --from and --to are one")


def _parents_first(runs: list[Run]) -> Iterator[Run]:
    by_id = {run.info.run_id: run for run in runs}
    done: set[str] = set()

    def line(run: Run) -> list[Run]:
        above: list[Run] = []
        current: Run | None = run
        while current is not None and current.info.run_id not in done and current not in above:
            above.append(current)
            current = by_id.get(current.data.tags.get(PARENT_TAG, ""))
        return above[::-1]

    for run in sorted(runs, key=lambda one: one.info.start_time):
        for one in line(run):
            done.add(one.info.run_id)
            yield one
