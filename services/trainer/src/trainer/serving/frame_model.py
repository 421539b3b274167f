"""Answers requests with one of the trainer's own models by scikit-learn, where it cannot be taken apart into trees.

Requests for models of other estimators than LightGBM's are answered here, too. They are read, and their values are
converted or refused, as in ``tree_model``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from trainer.config.csv_form import CsvForm
from trainer.config.task import Label, TaskName
from trainer.config.values import ColumnType
from trainer.serving.body import RequestError, Table
from trainer.serving.matrix import column_numbers, refuse_missing, text_of
from trainer.serving.own_model import OwnModel, Scored
from trainer.serving.served_answers import served_answers
from trainer.serving.unseen_texts import UnseenTexts
from trainer.training.model_metadata import noted_column_types, noted_form, noted_task

if TYPE_CHECKING:
    import pandas as pd
    from mlflow.pyfunc import PyFuncModel


@dataclass(frozen=True)
class Described:
    """What one of the trainer's own models says of itself: its columns in their order, and what it predicts."""

    columns: Mapping[str, ColumnType]
    form: CsvForm
    task: TaskName
    classes: tuple[Label, ...]
    threshold: float | None

    @classmethod
    def of(cls, model: PyFuncModel) -> Described | None:
        """Return what a model says; None for a model of others."""
        metadata = model.metadata.metadata
        schema: Any = model.metadata.get_input_schema()  # type: ignore[no-untyped-call]
        noted = noted_column_types(metadata)
        flavors = model.metadata.flavors
        if noted is None or schema is None or "sklearn" not in flavors:
            return None
        if flavors["python_function"].get("predict_fn", "predict") != "predict":
            return None
        names = schema.input_names() if schema.has_input_names() else []
        if set(names) != set(noted):
            return None
        task, classes = noted_task(metadata)
        raw = model.get_raw_model()  # type: ignore[no-untyped-call]
        threshold = float(raw.threshold) if task == "binary" and hasattr(raw, "threshold") else None
        if (task == "binary") != (threshold is not None) or (task == "multiclass" and not classes):
            return None
        if task == "binary" and len(classes) != 2:
            # An older model does not note what the target column had.
            classes = (0, 1)
        return cls({name: noted[name] for name in names}, noted_form(metadata), task, classes, threshold)


class FrameModel(OwnModel):
    """A model as MLflow loads it, asked with pandas tables."""

    def __init__(self, model: PyFuncModel, described: Described) -> None:
        self._model, self._described = model, described
        self._raw: Any = model.get_raw_model()  # type: ignore[no-untyped-call]
        self.answers = served_answers(described)
        self._gaps = frozenset(described.form.gaps)
        self._codes = _text_codes(self._raw, described.columns)
        self.unseen = UnseenTexts(tuple(self._codes), self._codes, self._gaps)

    def score(self, table: Table) -> Scored:
        """Return what the model says."""
        frame, codes = self._frame(table)
        unseen = self.unseen.count(codes, table.columns)
        if self._described.task == "regression":
            numbers = np.asarray(self._raw.predict(frame), dtype=np.float64)
            return Scored(numbers, np.empty(0, dtype=np.int64), unseen)
        scores = np.asarray(self._raw.predict_proba(frame), dtype=np.float64)
        if self._described.task == "binary":
            return Scored(scores[:, 1], self.answers.codes(scores[:, 1]), unseen)
        places = {label: place for place, label in enumerate(self._described.classes)}
        # By the model itself: another's estimator need not answer with the most probable class.
        called = np.array([places[label] for label in np.asarray(self._raw.predict(frame)).tolist()], dtype=np.int64)
        return Scored(scores, called, unseen)

    def _frame(self, table: Table) -> tuple[pd.DataFrame, np.ndarray[Any, np.dtype[np.float64]]]:
        """Return the rows as the table that the model was trained on, and the codes of their texts."""
        import pandas as pd

        given, columns = table.columns, self._described.columns
        if not table.rows:
            if not given:
                refuse_missing(columns, given)
            raise RequestError("the request holds no rows", "INVALID_PARAMETER_VALUE")
        gaps = self._gaps if table.from_text else None
        text_gaps = frozenset(self._described.form.text_gaps) if table.from_text or table.typed else frozenset[str]()
        found: dict[str, Any] = {}
        codes = np.full((table.rows, len(self._codes)), np.nan)
        places = {name: place for place, name in enumerate(self._codes)}
        # In the request's order: of several wrong columns, its first is named.
        for name, values in given.items():
            if (kind := columns.get(name)) in (None, "unknown"):
                continue
            numbers = column_numbers(name, values, kind, self._codes.get(name, {}), gaps, table)
            if kind == "number":
                found[name] = pd.Series(numbers, dtype="float64")
            elif kind == "boolean":
                truth = [math.nan if math.isnan(value) else bool(value) for value in numbers.tolist()]
                found[name] = pd.Series(truth, dtype=object if np.isnan(numbers).any() else bool)
            else:
                if name in places:
                    codes[:, places[name]] = numbers
                texts = [text_of(value) for value in (values.tolist() if isinstance(values, np.ndarray) else values)]
                missing = [text is None or text in text_gaps for text in texts]
                pairs = zip(texts, missing, strict=True)
                found[name] = pd.Series([math.nan if gap else text for text, gap in pairs], dtype="str")
        # What was without a value in training may be left out.
        if any(name not in given for name, kind in columns.items() if kind != "unknown"):
            refuse_missing(columns, given)
        nothing = pd.Series(math.nan, index=range(table.rows), dtype="str")
        return pd.DataFrame({name: found.get(name, nothing) for name in columns}, columns=list(columns)), codes


def _text_codes(raw: Any, columns: Mapping[str, ColumnType]) -> dict[str, dict[str, float]]:
    """Return the codes of the texts that a model knows, by column; none where its encoder does not say."""
    from trainer.training.model import parts_of

    try:
        encode, _ = parts_of(raw)
        known: dict[str, Any] = {}
        for label, transformer, names in encode.transformers_:
            if label == "text" and len(names):
                known |= dict(zip(names, transformer.categories_, strict=True))
        return {
            str(name): {value: float(code) for code, value in enumerate(values) if isinstance(value, str)}
            for name, values in known.items()
            if columns.get(str(name)) == "text"
        }
    except (AttributeError, KeyError, TypeError, ValueError):
        return {}


def frame_model(model: PyFuncModel) -> FrameModel | None:
    """Return the model if the trainer made it; None for one of others."""
    described = Described.of(model)
    return None if described is None else FrameModel(model, described)
