"""The training and test tables as MLflow's data set inputs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from trainer.data.dataset import Dataset, Table
from trainer.training.tasks import training_task

if TYPE_CHECKING:
    from mlflow.entities import DatasetInput, Run

#: MLflow's tag of a data set input that says what it was for, and its value for test rows.
CONTEXT, TESTING = "mlflow.data.context", "testing"


def test_digest(run: Run) -> str | None:
    """Return the digest of the rows that a run was tested on; None where it names none, or several."""
    tested = [
        entry.dataset.digest
        for entry in (run.inputs.dataset_inputs if run.inputs else [])
        if any(tag.key == CONTEXT and tag.value == TESTING for tag in entry.tags)
    ]
    return str(tested[0]) if len(tested) == 1 else None


def dataset_inputs(dataset: Dataset) -> list[DatasetInput]:
    """Return the training and the test table as MLflow's data set inputs."""
    return [
        _input(dataset, dataset.train, dataset.digest, "training", dataset.source),
        _input(dataset, dataset.test, dataset.test_digest, TESTING, dataset.test_source or dataset.source),
    ]


def _input(dataset: Dataset, table: Table, digest: str, context: str, path: str) -> DatasetInput:
    from mlflow.entities import Dataset as Entity
    from mlflow.entities import DatasetInput, InputTag

    # The same fields as mlflow.data.from_pandas makes, without its second look through all values.
    types = {"number": "double", "boolean": "boolean", "text": "string", "unknown": "string"}
    columns = [{"name": name, "type": types[kind], "required": True} for name, kind in dataset.column_types.items()]
    answer_type = training_task(dataset.task, dataset.classes).answer_type
    columns.append({"name": dataset.target, "type": answer_type, "required": True})
    source = {"tags": {"generator": path}} if dataset.generated else {"uri": path}
    schema = json.dumps({"mlflow_colspec": columns})
    entity = Entity(
        name=dataset.name,
        digest=digest,
        source_type="code" if dataset.generated else "local",
        source=json.dumps(source),
        # MLflow stores up to a megabyte: enough for about ten thousand columns.
        schema=schema if len(schema) < 1_000_000 else None,
        profile=json.dumps({"num_rows": table.rows, "num_elements": table.rows * len(columns)}),
    )
    return DatasetInput(entity, [InputTag(CONTEXT, context)])
