"""What the commands that train share: from their options to data and server, and from the best run to the registry."""

from __future__ import annotations

import contextlib
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from trainer.config.variant import param_warnings
from trainer.util.errors import TrainerError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from trainer.cli.options import DataOptions, TrackingOptions
    from trainer.config.parameters import Value
    from trainer.data.dataset import Dataset
    from trainer.registry.registry import Registration
    from trainer.runs.plan import Plan, TrainResult
    from trainer.tracking.client import Target
    from trainer.training.config import TrainConfig


def prepare(
    source: DataOptions,
    tracking: TrackingOptions,
    *all_params: Mapping[str, Value],
    on_data: Callable[[Dataset, TrainConfig], None] = lambda _dataset, _config: None,
) -> tuple[Dataset, Target, Plan]:
    """Check everything that was given, data first, and only then turn to the server.

    Args:
        source: The options that choose and split the data.
        tracking: The options that say where to track.
        all_params: Each variant's complete parameters.
        on_data: Called with the data and the settings as soon as they are there, before the server is.

    Raises:
        TrainerError: Something that was given cannot be used, or the server cannot be reached.
    """
    from trainer.data.reading import Reading
    from trainer.data.sources import load_data
    from trainer.runs.plan import Plan
    from trainer.tracking.settings import configure
    from trainer.training.config import TrainConfig
    from trainer.training.split import check_splits
    from trainer.training.threshold_rule import parse_threshold_rule
    from trainer.util import provenance
    from trainer.util.output import print_message

    configure(tracking.debug)
    rule = parse_threshold_rule(source.threshold)
    for warning in dict.fromkeys(warning for some in all_params for warning in param_warnings(some)):
        print_message(warning)
    dataset = load_data(
        source.data,
        target=source.target,
        test_size=source.test_size,
        seed=source.seed,
        drop=source.drop,
        categorical=source.categorical,
        positive=source.positive,
        weight=source.weight,
        time=source.time,
        group=source.group,
        test=source.test,
        monotone=source.monotone,
    )
    folds = source.folds or 0
    check_splits(dataset, seed=source.seed, validation_size=source.validation_size, folds=folds)
    if folds and source.validation_size != TrainConfig.validation_size:
        print_message("--validation-size has no effect beside --cv: each training row is held out in one of the folds")
    if source.test is not None and source.test_size != Reading.test_size:
        print_message("--test-size has no effect beside --test")
    for warning in dataset.warnings:
        print_message(warning)
    rows = f"{dataset.train.rows:,} training and {dataset.test.rows:,} test rows"
    features = "1 feature" if len(dataset.column_types) == 1 else f"{len(dataset.column_types)} features"
    print_message(f"data {dataset.name}: {rows}, {features}, target {dataset.target}")
    config = TrainConfig(source.seed, source.validation_size, rule, folds, source.metric)
    on_data(dataset, config)

    from trainer.tracking.connection import connect

    target = connect(tracking.uri, tracking.experiment, wait=tracking.wait, ui_url=tracking.ui_url)
    return dataset, target, Plan(target, config, provenance.tags(), explain=source.explain)


def register(
    name: str, best: TrainResult, dataset: Dataset, plan: Plan, parent: str | None = None
) -> tuple[Registration | None, TrainerError | None]:
    """Register a run's model; return what came of it, or why it could not be: what was trained is reported first."""
    from trainer.registry.registration import register_best
    from trainer.util.errors import TrackingError

    try:
        return register_best(plan.target, name, best, dataset, chosen_by=plan.config.chosen_by, parent=parent), None
    except TrackingError as error:
        return None, error


def ui_command(target: Target) -> str | None:
    """Return the command that opens the UI on a SQLite file; relative where that is shorter."""
    prefix = "sqlite:///"
    if not target.uri.startswith(prefix):
        return None
    path = Path(target.uri.removeprefix(prefix))
    with contextlib.suppress(ValueError):
        path = path.relative_to(Path.cwd())
    return f"mlflow ui --backend-store-uri {shlex.quote(f'{prefix}{path}')}"
