"""Finds the runs to compare, and what differs between them."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from trainer.comparison.compared_runs import ComparedRun, Comparison, direction
from trainer.tracking.client import Destination
from trainer.tracking.connection import query
from trainer.tracking.errors import is_missing
from trainer.tracking.inputs import test_digest
from trainer.tracking.model_uri import ModelUri
from trainer.tracking.tags import PARENT_TAG, PRUNED_TAG, STUDY_TAG, SWEEP_TAG
from trainer.util.errors import InputError
from trainer.util.text import one_line

if TYPE_CHECKING:
    from mlflow import MlflowClient

#: What runs are ordered by where the user names none of them: what they were all chosen by, or else the first of these
#: that any has; those without are last.
ORDER = ("validation_average_precision", "average_precision", "f1", "validation_log_loss", "validation_rmse")
_PAGE = 1_000
#: Runs with one of these tags hold variants, and are none.
_PARENTS = {SWEEP_TAG, STUDY_TAG}


@dataclass(frozen=True)
class Selection:
    """Which runs to compare: run ids and model URIs, or all runs of an experiment or of a sweep."""

    names: tuple[str, ...] = ()
    experiment: str | None = None
    sweep: str | None = None


def collect(selection: Selection, *, uri: str | None, wait: float, ui_url: str | None) -> Comparison:
    """Return the runs to compare, with the best first where they are a whole experiment's or sweep's.

    Args:
        selection: Which runs.
        uri: The tracking URI; None for the SQLite file in the working directory.
        wait: How many seconds to wait for a server that cannot be reached.
        ui_url: The base of links to the UI where it differs from ``uri``.

    Raises:
        InputError: There are no such runs.
        TrackingError: The server cannot be reached, or refuses.
    """
    absolute, (title, parent, found) = query(uri, partial(_find, selection), wait=wait)
    runs = [_compared(run, absolute, ui_url) for run in found]
    metric = None
    if not selection.names:
        chosen_by = {run.params.get("chosen_by") for run in runs}
        own = [f"validation_{name}" for name in chosen_by if len(chosen_by) == 1 and name is not None]
        metric = next((name for name in (*own, *ORDER) if any(name in run.metrics for run in runs)), None)
        if metric is not None:
            sign = direction(metric) or 1
            runs.sort(key=lambda run: -_merit(run.metrics.get(metric), sign))
    shown_parent = _compared(parent, absolute, ui_url) if parent else None
    return Comparison(title, tuple(runs), absolute, shown_parent, metric)


def _merit(value: float | None, sign: int) -> float:
    # Compared with NaN, nothing is in order.
    return -math.inf if value is None or math.isnan(value) else sign * value


def _find(selection: Selection, client: MlflowClient) -> tuple[str, Any, list[Any]]:
    from mlflow.exceptions import MlflowException

    if selection.sweep is not None:
        parent = _run(client, _run_id(client, selection.sweep, "--sweep"), selection.sweep, "--sweep")
        filters = f"tags.`{PARENT_TAG}` = '{parent.info.run_id}'"
        runs = _search(client, parent.info.experiment_id, filters)
        if not runs:
            raise InputError(f"{selection.sweep}: has no child runs; it is no sweep (--sweep)")
        return parent.info.run_name or "sweep", parent, runs
    if selection.experiment is not None:
        name = selection.experiment
        found = client.get_experiment_by_name(name)
        if found is None and name.isdigit():
            try:
                found = client.get_experiment(name)
            except MlflowException as error:
                if not is_missing(error):
                    raise
        if found is None:
            known = [experiment.name for experiment in client.search_experiments(max_results=20)]
            raise InputError(f"there is no experiment {name!r} (--experiment); there are {', '.join(known)}")
        runs = [run for run in _search(client, found.experiment_id, "") if not _PARENTS & set(run.data.tags)]
        if not runs:
            raise InputError(f"experiment {name!r} has no runs (--experiment)")
        return found.name, None, runs
    ids = [_run_id(client, name, "RUN_OR_MODEL") for name in selection.names]
    once = list(dict.fromkeys(ids))
    return "runs", None, [_run(client, run_id, run_id, "RUN_OR_MODEL") for run_id in once]


def _run_id(client: MlflowClient, name: str, option: str) -> str:
    """Return the id of a run, given by itself or by its model."""
    from mlflow.exceptions import MlflowException

    scheme = "" if ":/" in name else "models:/" if name.startswith("m-") else "runs:/"
    uri = ModelUri.parse(f"{scheme}{name}") or ModelUri()
    if uri.run_id is not None and re.fullmatch("[0-9a-f]{32}", uri.run_id):
        return uri.run_id
    run_id: str | None = None
    try:
        if uri.model_id is not None:
            run_id = client.get_logged_model(uri.model_id).source_run_id
        elif uri.name is not None and uri.alias is not None:
            run_id = client.get_model_version_by_alias(uri.name, uri.alias).run_id
        elif uri.name is not None and uri.version is not None:
            run_id = client.get_model_version(uri.name, uri.version).run_id
        else:
            raise InputError(
                f"{name!r} is neither a run id (32 hexadecimal digits) nor a model URI"
                f" (runs:/…, models:/NAME/VERSION, models:/NAME@ALIAS, models:/m-ID) ({option})"
            )
    except MlflowException as error:
        raise _absent(error, name, option) from error
    if not run_id:
        raise InputError(f"{name}: this model belongs to no run ({option})")
    return run_id


def _run(client: MlflowClient, run_id: str, name: str, option: str) -> Any:
    from mlflow.exceptions import MlflowException

    try:
        return client.get_run(run_id)
    except MlflowException as error:
        raise _absent(error, name, option) from error


def _absent(error: Any, name: str, option: str) -> Exception:
    if is_missing(error):
        return InputError(f"{name}: {one_line(error.message, 200)} ({option})")
    return error  # type: ignore[no-any-return]  # for the one who waits for the server


def _search(client: MlflowClient, experiment_id: str, filters: str) -> list[Any]:
    runs: list[Any] = []
    token = None
    while True:
        page = client.search_runs([experiment_id], filters, max_results=_PAGE, page_token=token)
        runs.extend(page)
        token = page.token
        if not token:
            return runs


def _compared(run: Any, uri: str, ui_url: str | None) -> ComparedRun:
    info = run.info
    return ComparedRun(
        run_id=info.run_id,
        name=one_line(info.run_name or info.run_id, 100),
        # To MLflow, a trial that was ended early for its losses is a run that was killed.
        status="PRUNED" if run.data.tags.get(PRUNED_TAG) == "true" else info.status,
        url=Destination(uri, info.experiment_id, "", ui_url).run_url(info.run_id),
        params=dict(sorted(run.data.params.items())),
        metrics=dict(run.data.metrics),
        test_digest=test_digest(run),
    )
