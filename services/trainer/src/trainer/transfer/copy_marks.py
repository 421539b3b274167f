"""How copies are marked, so that they are found again: by the ids of what they were made from, and by their state."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from trainer.tracking.settings import limits
from trainer.tracking.tags import HEARTBEAT_TAG, KEY_TAG, PARENT_TAG
from trainer.util.signals import ignore_signals

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import RunInfo

PARENT_RUN_TAG = "trainer.push.parent_run_id"
MODEL_TAG = "trainer.push.model_id"
VERSION_TAG = "trainer.push.version"
STATE_TAG = "trainer.push.state"
COPYING, COMPLETE = "copying", "complete"

#: Tags that would lie on another server: MLflow's own lists of versions and models, and ids that mean nothing there.
_NOT_COPIED = (
    *("mlflow.modelVersions", "mlflow.log-model.history", "mlflow.runName"),
    # An old sign of life would make the copy a stale run while it is made.
    *(KEY_TAG, PARENT_TAG, HEARTBEAT_TAG),
)


def copied_tags(tags: Mapping[str, str]) -> dict[str, str]:
    """Return those of the tags that a copy carries too."""
    return {name: value for name, value in tags.items() if name not in _NOT_COPIED}


def replace_ids(file: Path, ids: Mapping[str, str]) -> None:
    """Put the copy's ids in the place of the source's in an MLmodel file, so that a loaded model names its own."""
    import yaml

    content = yaml.safe_load(file.read_text())
    if content.get("model_uuid") and content.get("model_uuid") == content.get("model_id"):
        content["model_uuid"] = ids["model_id"]
    content.update(ids)
    file.write_text(yaml.safe_dump(content, sort_keys=False, allow_unicode=True))


@contextmanager
def being_copied(client: MlflowClient, run_id: str, info: RunInfo) -> Iterator[None]:
    """Mark a copy as running, and at the end as its source's is; as KILLED or FAILED where there is no end."""
    from mlflow.exceptions import MlflowException

    client.update_run(run_id, status="RUNNING")
    try:
        yield
        client.set_terminated(run_id, info.status, end_time=info.end_time)
        # Last: one without it is gone through again.
        client.set_tag(run_id, STATE_TAG, COMPLETE)
    except BaseException as error:
        status = "KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED"
        with ignore_signals(), limits(retries=1, timeout=5), contextlib.suppress(MlflowException):
            client.set_terminated(run_id, status)
        raise
