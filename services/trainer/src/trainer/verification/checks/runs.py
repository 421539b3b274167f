"""A run is read back, and found, as it was logged."""

from __future__ import annotations

import time

from trainer.verification.checks.check import CheckList
from trainer.verification.stack import Difference, Stack

check = CheckList()


@check("run, parameters, metrics, tags")
def _run(stack: Stack) -> str:
    from mlflow.entities import Metric, Param, RunTag

    client = stack.client
    stack.experiment_id = client.create_experiment(stack.name)
    stack.run_id = client.create_run(stack.experiment_id, run_name="verify").info.run_id
    params = {"num_leaves": "60", "text": "Grüße, 日本語", "long": "x" * 6_000}
    metrics = {"average_precision": 0.123456789012345, "negative": -1e-300, "large": 1e300}
    tags = {"colour": "green", "long": "y" * 8_000}
    now = time.time_ns() // 1_000_000
    client.log_batch(
        stack.run_id,
        [Metric(name, value, now, 0) for name, value in metrics.items()],
        [Param(name, value) for name, value in params.items()],
        [RunTag(name, value) for name, value in tags.items()],
        synchronous=True,
    )
    client.set_terminated(stack.run_id, "FINISHED")
    found = client.get_run(stack.run_id)
    stack.artifact_uri = found.info.artifact_uri
    for what, sent, got in (
        ("parameters", params, found.data.params),
        ("metrics", metrics, found.data.metrics),
        ("tags", tags, {name: found.data.tags.get(name) for name in tags}),
    ):
        if sent != got:
            wrong = [name for name in sent if got.get(name) != sent[name]]
            raise Difference(f"{what} come back changed: {', '.join(wrong) or 'there are more than were sent'}")
    if found.info.status != "FINISHED":
        raise Difference(f"the run is {found.info.status} after it was ended")
    filters = "params.num_leaves = '60' AND metrics.average_precision > 0.1"
    if [one.info.run_id for one in client.search_runs([stack.experiment_id], filters)] != [stack.run_id]:
        raise Difference(f"a search does not find the run: {filters}")
    return "read back and found as they were logged"


@check("metric history", "run, parameters, metrics, tags")
def _history(stack: Stack) -> str:
    from mlflow.entities import Metric

    # More than one request's worth of 1,000.
    points = [(step, 1 / step, 1_700_000_000_000 + step) for step in range(1, 1_101)]
    stack.client.log_batch(
        stack.run_id, [Metric("loss", value, stamp, step) for step, value, stamp in points], synchronous=True
    )
    found = stack.client.get_metric_history(stack.run_id, "loss")
    if (got := sorted((point.step, point.value, point.timestamp) for point in found)) != points:
        raise Difference(f"{len(points)} values were logged, and {len(got)} come back, not all the same")
    return f"{len(points):,} values with their steps and times"
