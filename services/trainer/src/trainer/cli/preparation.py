"""What the commands that train share: from their options to data and server, and from the best run to the registry."""

from __future__ import annotations

import contextlib
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from trainer.config.defaults import TEST_SIZE, VALIDATION_SIZE
from trainer.config.variant import param_warnings
from trainer.util.errors import InputError, TrainerError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from trainer.cli.options.data import DataOptions
    from trainer.cli.options.tracking import TrackingOptions
    from trainer.config.parameter import Value
    from trainer.data.dataset import Dataset
    from trainer.parallel.cluster.remote_pool import ClusterPool
    from trainer.parallel.engine import Engine
    from trainer.registry.registry import Registration
    from trainer.runs.plan import Plan, TrainResult
    from trainer.tracking.client import Destination
    from trainer.training.train_config import TrainConfig


def prepare(
    source: DataOptions,
    tracking: TrackingOptions,
    *all_params: Mapping[str, Value],
    on_data: Callable[[Dataset, TrainConfig], None] = lambda _dataset, _config: None,
    held_for: str | None = None,
    distributed: bool = False,
    engine: Engine | None = None,
) -> tuple[Dataset, Destination, Plan]:
    """Check everything that was given, data first, and only then turn to the server.

    Args:
        source: The options that choose and split the data.
        tracking: The options that say where to track.
        all_params: Each variant's complete parameters.
        on_data: Called with the data and the settings as soon as they are there, before the server is.
        held_for: The option that needs the table in memory, if any.
        distributed: Whether one fit is made by several processes.
        engine: What runs will be trained by: where that is other machines, one of them turns to the server.

    Raises:
        TrainerError: Something that was given cannot be used, or the server cannot be reached.
    """
    from trainer.cli.data_warnings import show_data_warnings
    from trainer.cli.reading_data import Request, read
    from trainer.runs.plan import Plan
    from trainer.tracking.settings import configure
    from trainer.training.threshold_rule import parse_threshold_rule
    from trainer.util import provenance
    from trainer.util.output import print_message

    check_held(source, held_for)
    configure(tracking.debug)
    rule = parse_threshold_rule(source.threshold)
    for warning in dict.fromkeys(warning for some in all_params for warning in param_warnings(some)):
        print_message(warning)
    stream = "never" if held_for is not None else source.stream
    dataset, config = read(Request(source, rule, all_params, stream, distributed), engine)
    folds = config.folds
    if folds and source.validation_size != VALIDATION_SIZE:
        print_message("--validation-size has no effect beside --cv: each training row is held out in one of the folds")
    if source.test is not None and source.test_size != TEST_SIZE:
        print_message("--test-size has no effect beside --test")
    show_data_warnings(dataset.warnings)
    rows = f"{dataset.train.rows:,} training and {dataset.test.rows:,} test rows"
    features = "1 feature" if len(dataset.column_types) == 1 else f"{len(dataset.column_types)} features"
    print_message(f"data {dataset.name}: {rows}, {features}, target {dataset.target} ({dataset.task})")
    on_data(dataset, config)

    from trainer.parallel.engine import run_short_task
    from trainer.tracking.connection import ConnectRequest, answers, connect_as_task

    request = ConnectRequest(tracking.uri, tracking.experiment, tracking.wait, tracking.ui_url)
    # A worker may know the server by another address: that this one is right is seen here.
    reached = engine is not None and tracking.uri is not None and answers(tracking.uri)
    destination = run_short_task(engine if reached else None, connect_as_task, request)
    return (
        dataset,
        destination,
        Plan(destination, config, provenance.tags(), explain=source.explain, plot_style=source.plot_style),
    )


def check_held(source: DataOptions, held_for: str | None) -> None:
    """Check that the table may be held in memory where it has to be.

    Args:
        source: The options that choose the data.
        held_for: The option that needs the table in memory, if any.

    Raises:
        InputError: It is to be read in passes.
    """
    if held_for is not None and source.stream == "always":
        raise InputError(f"--stream always goes with LightGBM alone: {held_for} needs the table in memory")


def open_engine(
    cluster: str | None, jobs: int | None, tasks: int, preload: Sequence[str], tracking: TrackingOptions
) -> Engine:
    """Return what the tasks run in: processes of this machine, or the workers of a cluster.

    Args:
        cluster: The scheduler's address, if any.
        jobs: How many tasks run side by side on this machine; by default as many as it has processors.
        tasks: How many tasks there are.
        preload: What this machine's processes import before the first task.
        tracking: The options that say where to track.

    Raises:
        TrainerError: The cluster cannot be used.
    """
    from trainer.parallel.pool import ProcessPool
    from trainer.util.processors import available_cpus

    if not cluster:
        return ProcessPool(min(jobs or available_cpus(), tasks), preload)
    check_served(tracking)
    pool = open_cluster(cluster, tracking.wait)
    if jobs is not None:
        pool.most = jobs
    return pool


def check_served(tracking: TrackingOptions) -> None:
    """Check that runs go to a server, which a cluster's workers reach.

    Raises:
        InputError: They go to a file.
    """
    if not tracking.served:
        raise InputError(
            "--cluster: the workers need a tracking server; name one with --tracking-uri (they cannot write to a file),"
            " or set neither --cluster nor TRAINER_CLUSTER"
        )


def open_cluster(cluster: str, patience: float) -> ClusterPool:
    """Return the workers of a cluster.

    Args:
        cluster: The scheduler's address.
        patience: How long to wait for the scheduler and for the first worker, in seconds.

    Raises:
        TrainerError: The cluster cannot be used.
    """
    from trainer.accelerators import optional_modules
    from trainer.cli.options.cluster import import_cluster
    from trainer.parallel.cluster.credentials import Credentials, parse_address
    from trainer.util.output import print_message

    parse_address(cluster)
    credentials = Credentials.find()
    with optional_modules.without("numpy", "jinja2", "curses"):
        import_cluster()
    from trainer.parallel.cluster.remote_pool import ClusterPool

    return ClusterPool(cluster, credentials, patience, print_message)


def where(cluster: str | None) -> str:
    """Return the words that say where tasks run, for the end of a line; none for this machine."""
    return f" on the cluster {cluster}" if cluster else ""


def register(
    name: str,
    best: TrainResult,
    dataset: Dataset,
    plan: Plan,
    parent: str | None = None,
    engine: Engine | None = None,
) -> tuple[Registration | None, TrainerError | None]:
    """Register a run's model; return what came of it, or why it could not be: what was trained is reported first.

    Args:
        name: The registered model's name.
        best: The run.
        dataset: What it was trained on and tested on.
        plan: Where it is tracked.
        parent: The run of the sweep or search that it is the best of.
        engine: What it ran on: where that is other machines, one of them registers it.
    """
    from trainer.registry.registration import register_best

    chosen_by = plan.config.chosen_by
    try:
        registered = register_best(
            plan.destination, name, best, dataset, chosen_by=chosen_by, parent=parent, engine=engine
        )
        return registered, None
    except TrainerError as error:
        return None, error


def ui_command(destination: Destination) -> str | None:
    """Return the command that opens the UI on a SQLite file; relative where that is shorter."""
    prefix = "sqlite:///"
    if not destination.uri.startswith(prefix):
        return None
    path = Path(destination.uri.removeprefix(prefix))
    with contextlib.suppress(ValueError):
        path = path.relative_to(Path.cwd())
    return f"mlflow ui --backend-store-uri {shlex.quote(f'{prefix}{path}')}"
