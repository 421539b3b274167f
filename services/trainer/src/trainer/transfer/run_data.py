"""Copies what a run has logged, but for its files: parameters, metrics with their history, data sets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from trainer.tracking.active_run import ActiveRun
from trainer.tracking.client import Tracking
from trainer.util.errors import TrackingError

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel, Metric, Run


def copy_run_data(
    client: MlflowClient, run: Run, models: Mapping[str, LoggedModel], tracking: Tracking, run_id: str
) -> None:
    """Log parameters, metrics and data sets of a run with another server, and read them back.

    Args:
        client: The source's.
        run: The run.
        models: Its logged models, by the ids of their copies.
        tracking: The other server.
        run_id: The copy of the run there.

    Raises:
        TrackingError: What is read back is not what the source has.
    """
    from mlflow.entities import Metric

    active = ActiveRun(tracking, run_id, "")
    histories = _histories(client, run)
    active.log([point for points in histories.values() for point in points], run.data.params)
    if run.inputs is not None and run.inputs.dataset_inputs:
        active.log_inputs(list(run.inputs.dataset_inputs))
    # A model's copy of a metric that is no number says 0: the run's history knows better.
    known = {(point.key, point.step, point.timestamp): point.value for line in histories.values() for point in line}
    for model_id, model in models.items():
        # The metrics that the run itself gave its model: these show on the model's page too.
        own = [point for point in model.metrics or () if point.run_id == run.info.run_id]
        active.log(
            [
                Metric(
                    point.key,
                    known.get((point.key, point.step, point.timestamp), point.value),
                    point.timestamp,
                    point.step,
                    model_id=model_id,
                    dataset_name=point.dataset_name,
                    dataset_digest=point.dataset_digest,
                )
                for point in own
            ]
        )
    copy = tracking.client.get_run(run_id)
    if copy.data.params != run.data.params:
        raise TrackingError(f"the parameters of run {run_id} are not those of the source; is it still being copied?")
    for name, points in _histories(tracking.client, copy).items():
        if _values(points) != _values(histories.get(name, [])):
            raise TrackingError(f"metric {name} of run {run_id} has not the values of the source")
    if missing := set(histories) - set(copy.data.metrics):
        raise TrackingError(f"run {run_id} lacks the metrics {', '.join(sorted(missing))}")


def _histories(client: MlflowClient, run: Run) -> dict[str, list[Metric]]:
    return {name: list(client.get_metric_history(run.info.run_id, name)) for name in run.data.metrics}


def _values(points: list[Metric]) -> list[tuple[int, int, str]]:
    # As text: a value may be NaN, which is not equal to itself.
    return sorted({(point.step, point.timestamp, repr(point.value)) for point in points})
