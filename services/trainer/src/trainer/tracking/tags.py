"""Tags of runs and models that the trainer itself looks for."""

from __future__ import annotations

#: Identifies a run (or model) before the server has given it an id: looked for when the reply to its creation is lost.
KEY_TAG = "trainer.key"
FAILURE_TAG = "failure_reason"
PARENT_TAG = "mlflow.parentRunId"
#: When the process of a run was last known to live, in seconds since 1970; written once a minute while it is under way.
HEARTBEAT_TAG = "trainer.heartbeat"
#: "true" for a trial that a search ended early.
PRUNED_TAG = "trainer.pruned"
#: The parent run of a sweep or of a search has one of these. It repeats the metrics of its best child.
SWEEP_TAG, STUDY_TAG = "trainer.sweep", "trainer.study"
