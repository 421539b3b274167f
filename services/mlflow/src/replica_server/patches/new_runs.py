"""Makes a run by two statements in one session; MLflow takes nine in two, and reads back what it has just written.

Where the request is unusual in any way (an experiment that is not there, two names, a tag twice), MLflow's own code
runs, so that its answer is MLflow's.

Replaces: `SqlAlchemyStore.create_run` of the tracking store.
Gain: a create_run takes 2.6 ms of the processor, PostgreSQL's included, instead of 6.9.
Upstream: no thread found.
Test: tests/integration/test_stored_both_ways.py, which compares with MLflow's rows and answers; test_stock.py.
Goes when: MLflow reads nothing back.
"""

import re
import uuid
from collections.abc import Callable
from typing import Any

from mlflow.entities import LifecycleStage, Run, RunData, RunInfo, RunInputs, RunStatus, RunTag
from mlflow.store.db.db_types import POSTGRES
from mlflow.store.tracking import sqlalchemy_store as _sqlalchemy_store
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
from mlflow.utils.mlflow_tags import MLFLOW_RUN_NAME
from mlflow.utils.uri import append_to_uri_path

from replica_server.patches.replace import replace, require

sqlalchemy_store: Any = _sqlalchemy_store
#: An experiment's id as MLflow writes it.
ID = re.compile("0|[1-9][0-9]{0,8}")
PLACE = (
    "SELECT artifact_location FROM experiments WHERE experiment_id = %(experiment_id)s AND lifecycle_stage = 'active'"
)
INSERT = """
WITH run AS (
    INSERT INTO runs (
        run_uuid, name, source_type, source_name, entry_point_name, user_id, status, start_time, end_time,
        deleted_time, source_version, lifecycle_stage, artifact_uri, experiment_id
    ) VALUES (
        %(run_id)s, %(run_name)s, 'UNKNOWN', '', '', %(user_id)s, %(status)s, %(start_time)s, NULL,
        NULL, '', %(lifecycle_stage)s, %(artifact_uri)s, %(experiment_id)s
    )
)
INSERT INTO tags (run_uuid, key, value) SELECT %(run_id)s, * FROM unnest(%(keys)s::varchar[], %(values)s::varchar[])
"""


def apply() -> None:
    """Has MLflow's store make runs in this way."""
    for name in ("_get_run_name_from_tags", "_generate_random_name"):
        require(sqlalchemy_store, name)
    replace(SqlAlchemyStore, "create_run", _create_run)


def _create_run(theirs: Callable[..., Run]) -> Callable[..., Run]:
    def create_run(
        self: Any, experiment_id: str, user_id: str, start_time: int, tags: list[RunTag], run_name: str
    ) -> Run:
        run = None
        if self.db_type == POSTGRES and ID.fullmatch(experiment_id):
            run = _usual(self, experiment_id, user_id, start_time, list(tags or []), run_name)
        return run or theirs(self, experiment_id, user_id, start_time, tags, run_name)

    return create_run


def _usual(
    store: Any, experiment_id: str, user_id: str, start_time: int, tags: list[RunTag], run_name: str
) -> Run | None:
    """Makes a run and returns it; returns None and makes none when MLflow is to answer."""
    tagged: str | None = sqlalchemy_store._get_run_name_from_tags(tags)
    if run_name and tagged and run_name != tagged:
        return None
    name = run_name or tagged or sqlalchemy_store._generate_random_name()
    if not tagged:
        tags.append(RunTag(MLFLOW_RUN_NAME, name))
    if len({tag.key for tag in tags}) < len(tags):
        return None
    with store.ManagedSessionMaker(read_only=False) as session:
        connection = session.connection()
        place = connection.exec_driver_sql(PLACE, {"experiment_id": int(experiment_id)}).scalar()
        if place is None:
            return None
        run_id = uuid.uuid4().hex
        info = RunInfo(
            run_id=run_id,
            run_name=name,
            experiment_id=experiment_id,
            user_id=user_id,
            status=RunStatus.to_string(RunStatus.RUNNING),
            start_time=start_time,
            end_time=None,
            lifecycle_stage=LifecycleStage.ACTIVE,
            artifact_uri=append_to_uri_path(place, run_id, SqlAlchemyStore.ARTIFACTS_FOLDER_NAME),  # type: ignore[no-untyped-call]
        )
        columns = {"keys": [tag.key for tag in tags], "values": [tag.value for tag in tags]}
        connection.exec_driver_sql(INSERT, {**dict(info), **columns})
    return Run(info, RunData(metrics=[], params=[], tags=tags), RunInputs(dataset_inputs=[]))
