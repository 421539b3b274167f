"""The parent run of a sweep or a search: what creates it, and what it holds in the end.

Both are tasks (see ``parallel.engine``). A cluster's workers have imported MLflow, and what draws: the command's own
process then needs neither.
"""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer.parallel.engine import run_short_task, run_task
from trainer.runs.run_config import write_config
from trainer.sweeps.comparison_files import Drawing, write_plots, write_table
from trainer.tracking.active_run import ActiveRun
from trainer.tracking.client import UNDER_WAY, Destination
from trainer.tracking.errors import tracking_errors
from trainer.tracking.inputs import TableInput, dataset_inputs
from trainer.tracking.logged_metrics import metric_values
from trainer.tracking.settings import configure
from trainer.util.errors import TrackingError

if TYPE_CHECKING:
    from trainer.parallel.engine import Engine
    from trainer.runs.plan import TrainResult


@dataclass(frozen=True)
class Opening:
    """A parent run that is to be created: its key, its name, and what it holds from the beginning.

    ``again`` says that an earlier attempt may have created it.
    """

    destination: Destination
    key: str
    name: str
    tags: Mapping[str, str]
    params: Mapping[str, Any]
    inputs: Sequence[TableInput]
    again: bool = False


@dataclass(frozen=True)
class Comparison:
    """What a parent run holds in the end.

    Attributes:
        destination: Where the run is tracked.
        run_id: The run.
        metrics: The best variant's; none where all failed.
        tags: Its tags.
        results: What came of the variants.
        table: The name of the file that lists them.
        command: The command that repeats it, such as ``sweep``.
        config: That command's options.
        drawing: What the plots show.
        folder: The folder among the run's artifacts; by default their root.
        end: Whether the run has finished with that.
    """

    destination: Destination
    run_id: str
    metrics: Mapping[str, float]
    tags: Mapping[str, str]
    results: Sequence[TrainResult]
    table: str
    command: str
    config: Mapping[str, Any]
    drawing: Drawing
    folder: str = ""
    end: bool = False


def create_parent(engine: Engine, opening: Opening) -> str:
    """Create a parent run, and return its id.

    Args:
        engine: What the variants will run on. An idle worker of a cluster creates it; on this machine this process
            does, which has MLflow at hand sooner than its tasks' processes.
        opening: The run.

    Raises:
        TrackingError: The server cannot be reached, or refuses.
    """
    return run_short_task(engine, _create, opening, again=lambda lost, _reason: replace(lost, again=True))


def log_beginning(engine: Engine, opening: Opening, run_id: str) -> None:
    """Log what a parent run holds from the beginning.

    Args:
        engine: As with ``create_parent``.
        opening: The run.
        run_id: Its id.

    Raises:
        TrackingError: The server cannot be reached, or refuses.
    """
    run_short_task(engine, _log_beginning, (opening, run_id))


def _create(opening: Opening, _shared: None) -> str:
    tracking = opening.destination.open()
    with tracking_errors():
        if opening.again:
            # Gives a request that is still under way time to arrive before it is looked for.
            time.sleep(UNDER_WAY)
            if (known := tracking.find(opening.key)) is not None:
                return known
        return tracking.create(opening.key, opening.name, opening.tags)


def _log_beginning(wanted: tuple[Opening, str], _shared: None) -> None:
    opening, run_id = wanted
    run = ActiveRun(opening.destination.open(), run_id, opening.key)
    with tracking_errors():
        run.log(params=opening.params)
        run.log_inputs(dataset_inputs(opening.inputs))


def prepare(engine: Engine) -> None:
    """Begin to import what drawing takes, if this process will draw: it has nothing else to do while the variants run.

    Args:
        engine: What the variants run on.
    """
    if not engine.warm:
        threading.Thread(target=_rehearse, name="trainer-plots", daemon=True).start()


def _rehearse() -> None:
    from trainer import plots

    plots.warm_up()


def log_comparison(engine: Engine, comparison: Comparison) -> None:
    """Log what a parent run holds in the end.

    Args:
        engine: What the variants ran on: one of its processes does it where those have the imports.
        comparison: What to log.

    Raises:
        TrackingError: The server cannot be reached, or refuses.
        TaskDiedError: The process died.
    """
    if engine.warm and engine.idle:
        run_task(engine, _log_in_task, comparison)
    else:
        _log(comparison)


def _log_in_task(comparison: Comparison, _shared: None) -> None:
    configure()
    _log(comparison)


def _log(comparison: Comparison) -> None:
    run = ActiveRun(comparison.destination.open(), comparison.run_id, "")
    with tracking_errors(), tempfile.TemporaryDirectory(prefix="trainer-") as folder:
        run.log(metric_values(comparison.metrics), tags=comparison.tags)
        # A storage may take each name once: whoever resumes a search adds to what is there.
        files = Path(folder) / comparison.folder
        files.mkdir(exist_ok=True)
        write_table(files / comparison.table, comparison.results)
        write_config(files, comparison.command, comparison.config)
        write_plots(files / "plots", comparison.drawing)
        run.log_files(Path(folder))
        if comparison.end and not run.end("FINISHED", patient=True):
            raise TrackingError("the tracking server did not answer when the run was to end")
