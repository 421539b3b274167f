"""What the commands that train share: from their options to data and server, and from the best run to the registry."""

from __future__ import annotations

import contextlib
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer.config import parameters as params
from trainer.config.parameters import PARAMETERS, Value
from trainer.util.errors import TrainerError

if TYPE_CHECKING:
    from trainer.data.sources import Dataset
    from trainer.registry.registry import Registration
    from trainer.runs.plan import Plan, Result
    from trainer.tracking.client import Target


def overrides(options: dict[str, Any]) -> dict[str, Value]:
    """Take LightGBM's parameters out of a command's options, and return those that were given."""
    given = {parameter.name: options.pop(parameter.name) for parameter in PARAMETERS}
    return {name: value for name, value in given.items() if value is not None}


def prepare(options: dict[str, Any], *all_params: Any) -> tuple[Dataset, Target, Plan]:
    """Check everything that was given, data first, and only then turn to the server.

    Args:
        options: The command's options.
        all_params: Each variant's complete parameters.

    Raises:
        TrainerError: Something that was given cannot be used, or the server cannot be reached.
    """
    from trainer.cli import results as report
    from trainer.data import sources as data
    from trainer.runs.plan import Plan
    from trainer.tracking import client as tracking
    from trainer.training import fit
    from trainer.training import threshold_rule as thresholds
    from trainer.util import provenance

    tracking.configure(options["debug"])
    policy = thresholds.parse(options["threshold"])
    for remark in dict.fromkeys(remark for some in all_params for remark in params.notices(some)):
        report.note(remark)
    path, test_size, seed = options["data"], options["test_size"], options["seed"]
    dataset = data.load(path, target=options["target"], test_size=test_size, seed=seed)
    folds = options["folds"] or 0
    fit.check_folds(dataset, folds)
    if folds and options["validation_size"] != Plan.validation_size:
        report.note("--validation-size has no effect beside --cv: each training row is held out in one of the folds")
    for remark in dataset.notes:
        report.note(remark)
    rows = f"{dataset.train.rows:,} training and {dataset.test.rows:,} test rows"
    features = "1 feature" if len(dataset.kinds) == 1 else f"{len(dataset.kinds)} features"
    report.note(f"data {dataset.name}: {rows}, {features}, target {dataset.target}")
    target = tracking.connect(
        options["tracking_uri"] or None, options["experiment"], wait=options["wait"], ui_url=options["ui_url"]
    )
    plan = Plan(
        target,
        seed=seed,
        validation_size=options["validation_size"],
        policy=policy,
        folds=folds,
        tags=provenance.tags(),
    )
    return dataset, target, plan


def register(
    name: str, best: Result, dataset: Dataset, plan: Plan, parent: str | None = None
) -> tuple[Registration | None, TrainerError | None]:
    """Register a run's model; return what came of it, or why it could not be: what was trained is reported first."""
    from trainer.registry import registry
    from trainer.runs.plan import SELECTION
    from trainer.util.errors import TrackingError

    try:
        return registry.register_best(plan.target, name, best, dataset, chosen_by=SELECTION, parent=parent), None
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
