"""The training and test tables as MLflow's data set inputs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trainer.config.task import TASKS

if TYPE_CHECKING:
    from mlflow.entities import DatasetInput, Run

    from trainer.data.dataset import Dataset, Table

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


@dataclass(frozen=True)
class TableInput:
    """What is tracked of a table: plain data that can be handed to another process; the fields are MLflow's."""

    context: str
    name: str
    digest: str
    source_type: str
    source: str
    schema: str | None
    profile: str


def described_inputs(dataset: Dataset) -> tuple[TableInput, ...]:
    """Return what is tracked of the training and of the test table."""
    return (
        _described(dataset, dataset.train, dataset.digest, "training", dataset.source),
        _described(dataset, dataset.test, dataset.test_digest, TESTING, dataset.test_source or dataset.source),
    )


def dataset_inputs(tables: Sequence[TableInput]) -> list[DatasetInput]:
    """Return tables as MLflow's data set inputs."""
    from mlflow.entities import Dataset as Entity
    from mlflow.entities import DatasetInput, InputTag

    return [
        DatasetInput(
            Entity(table.name, table.digest, table.source_type, table.source, table.schema, table.profile),
            [InputTag(CONTEXT, table.context)],
        )
        for table in tables
    ]


def _described(dataset: Dataset, table: Table, digest: str, context: str, path: str) -> TableInput:
    # The same fields as mlflow.data.from_pandas makes, without its second look through all values.
    types = {"number": "double", "boolean": "boolean", "text": "string", "unknown": "string"}
    columns = [{"name": name, "type": types[kind], "required": True} for name, kind in dataset.column_types.items()]
    answer_type = TASKS[dataset.task].answer_type(dataset.classes)
    columns.append({"name": dataset.target, "type": answer_type, "required": True})
    source = {"tags": {"generator": path}} if dataset.generated else {"uri": path}
    schema = json.dumps({"mlflow_colspec": columns})
    return TableInput(
        context,
        dataset.name,
        digest=digest,
        source_type="code" if dataset.generated else "local",
        source=json.dumps(source),
        # MLflow stores up to a megabyte: enough for about ten thousand columns.
        schema=schema if len(schema) < 1_000_000 else None,
        profile=json.dumps({"num_rows": table.rows, "num_elements": table.rows * len(columns)}),
    )
