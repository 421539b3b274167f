"""What the trainer notes in a model for whoever loads it. Imports nothing heavy: a server reads models by it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trainer.config.csv_form import CsvForm
from trainer.config.task import TASK_NAMES, Label, TaskName
from trainer.config.values import COLUMN_TYPES, ColumnType
from trainer.util.errors import InputError

#: The types in a model that skops does not know; it restores nothing but these and scikit-learn's own.
TRUSTED_TYPES = (
    *("collections.OrderedDict", "lightgbm.basic.Booster"),
    *("lightgbm.sklearn.LGBMClassifier", "lightgbm.sklearn.LGBMRegressor"),
)

#: What scikit-learn's transformers hold beside these: plain descriptions of numbers.
PLAIN_TYPES = ("numpy.dtype",)


def noted_task(metadata: Any) -> tuple[TaskName, tuple[Label, ...]]:
    """Return what a model predicts, and its classes in the order of their codes, as the trainer notes them."""
    content = metadata if isinstance(metadata, dict) else {}
    name = content.get("task", "binary")
    return (name if name in TASK_NAMES else "binary"), tuple(content.get("classes", ()))


#: The key in a model's metadata that says how the CSV files of its training were written.
CSV = "csv"


def noted_form(metadata: Any) -> CsvForm:
    """Return how the CSV files of a model's training were written, as its metadata says; the usual form for others."""
    try:
        return CsvForm.noted(metadata.get(CSV) if isinstance(metadata, dict) else None)
    except (TypeError, InputError):
        return CsvForm()


def own_column_types(described: Any) -> Mapping[str, ColumnType] | None:
    """Return the kinds of the columns that the trainer keeps with its models; None for another's model."""
    return noted_column_types(described.metadata)


def noted_column_types(metadata: Any) -> Mapping[str, ColumnType] | None:
    """Return the kinds of the columns in a model's metadata, as the trainer notes them; None for another's."""
    column_types = metadata.get("columns") if isinstance(metadata, dict) else None
    if isinstance(column_types, dict) and column_types and all(kind in COLUMN_TYPES for kind in column_types.values()):
        return column_types
    return None
