"""A run whose container was killed stays running until housekeeping marks it as failed, with the reason."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

from .stack import Stack, wait_until

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

TAG = "trainer.heartbeat"


def test_killed_trainers_run_is_marked(stack: Stack, client: MlflowClient) -> None:
    trainer = stack.start_trainer("--experiment", "killed", "--n-estimators", "20000", "--learning-rate", "0.001")
    found: list[Run] = []

    def begun() -> bool:
        experiment = client.get_experiment_by_name("killed")
        found[:] = client.search_runs([experiment.experiment_id]) if experiment else []
        return bool(found)

    try:
        wait_until(begun, "its run is there", 120)
    finally:
        trainer.kill()
        trainer.remove(force=True)
    (run,) = found
    assert run.info.status == "RUNNING"
    assert abs(int(run.data.tags[TAG]) - time.time()) < 300
    other = client.create_run(run.info.experiment_id, run_name="of another program").info.run_id
    quick = ("stale", "--confirm", "0", "--json")
    assert json.loads(stack.run_trainer(*quick).stdout) == {"stale": []}
    # Eleven minutes later.
    client.set_tag(run.info.run_id, TAG, str(int(time.time()) - 660))
    listed = stack.run_trainer("stale", "--dry-run")
    assert listed.returncode == 0, listed.stderr
    assert "no sign of life for 11 min" in listed.stdout
    assert client.get_run(run.info.run_id).info.status == "RUNNING"
    marked = json.loads(stack.run_trainer(*quick).stdout)["stale"]
    assert [one["run_id"] for one in marked] == [run.info.run_id]
    after = client.get_run(run.info.run_id)
    assert after.info.status == "FAILED"
    assert "no sign of life for 11 min" in after.data.tags["failure_reason"]
    assert client.get_run(other).info.status == "RUNNING"
    client.set_terminated(other)
