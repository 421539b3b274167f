"""What a request's columns are read as: what the model was trained on, whatever a client writes it as.

MLflow's reading of requests makes "perhaps" and a missing value true where a boolean is expected, and its check of
numbers refuses an integer in the place of a decimal, which is why the signature of the trainer's models leaves their
type open; of such a signature it reads no CSV. Where text is expected it lets numbers pass, which no category is equal
to. Here numbers are numbers, codes text even if they come as numbers, and booleans true, false (in any case, as in
training), or missing; anything else is refused, and its column named.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE
from mlflow.types import ColSpec, Schema
from mlflow.types.schema import AnyType

from trainer.config.truth import BOOLEANS
from trainer.config.values import category_text, parse_number
from trainer.data.uneven import uneven_row, uneven_rows
from trainer.training.model_metadata import own_column_types

if TYPE_CHECKING:
    from mlflow.pyfunc import PyFuncModel


def wrong(body: bytes, *, is_csv: bool) -> str | None:
    """Return what is wrong with a request's text, or None.

    Of a CSV row with more fields than the header, pandas would take what is too much for an index, and read each value
    into the next column; of one with fewer it would make missing values of the rest, in JSON too.
    """
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        return f"the request is not UTF-8 text (byte {error.start:,})"
    return uneven_rows(io.StringIO(text, newline="")) if is_csv else _uneven_lists(text)


def _uneven_lists(text: str) -> str | None:
    """Return which row of a request in JSON has another number of values than there are columns, or None."""
    try:
        split = json.loads(text)["dataframe_split"]
        width, rows = len(split["columns"]), split["data"]
        lengths = [len(row) if isinstance(row, list) else width for row in rows]
    except (ValueError, RecursionError, LookupError, TypeError):
        # What is no such table, MLflow's server says.
        return None
    number = next((number for number, length in enumerate(lengths, start=1) if length != width), None)
    return None if number is None else uneven_row(number, lengths[number - 1], width)


def typed(model: PyFuncModel) -> Any:
    """Return what MLflow's scoring server takes for a model, reading columns by the kinds that the trainer noted."""
    return _Typed(model)


class _Typed:
    def __init__(self, model: PyFuncModel) -> None:
        self._model = model
        self._kinds: Mapping[str, str] = own_column_types(model.metadata) or {}
        self.metadata = _Metadata(model.metadata, self._kinds)

    def predict(self, data: Any, params: dict[str, Any] | None = None) -> Any:
        if self._kinds and isinstance(data, dict):
            data = pd.DataFrame(data)
        if isinstance(data, pd.DataFrame):
            if data.empty and len(data.columns):
                raise MlflowException("the request holds no rows", error_code=INVALID_PARAMETER_VALUE)
            if self._kinds and data.columns.has_duplicates:
                name = data.columns[data.columns.duplicated()][0]
                raise MlflowException(
                    f"column {name!r} appears more than once; columns need names of their own",
                    error_code=INVALID_PARAMETER_VALUE,
                )
            for name, dtype in zip(data.columns, data.dtypes, strict=True):
                kind = self._kinds.get(name)
                # Most requests come as they should, and cost no more than this look.
                if kind == "number" and dtype.kind not in "iuf":
                    data[name] = _converted(data[name], _number, "numbers", np.nan)
                elif kind == "boolean" and dtype.kind != "b":
                    data[name] = _converted(data[name], _truth, "true or false", None)
                elif kind == "text" and pd.api.types.infer_dtype(data[name]) not in ("string", "empty"):
                    data[name] = _converted(data[name], _text, "text", None)
        return self._model.predict(data, params=params)


class _Metadata:
    """A model's metadata, with the schema that requests are read by; the model's own check comes after it."""

    def __init__(self, metadata: Any, column_types: Mapping[str, str]) -> None:
        self._metadata = metadata
        own = metadata.get_input_schema()
        self._schema = _Schema(own, column_types) if column_types and own is not None and own.has_input_names() else own

    def get_input_schema(self) -> Schema | None:
        return self._schema

    def __getattr__(self, name: str) -> Any:
        return getattr(self._metadata, name)


class _Schema(Schema):
    """A schema by which JSON is left as it is, and CSV read by the kinds of its columns."""

    def __init__(self, own: Schema, column_types: Mapping[str, str]) -> None:
        anything: Any = AnyType()  # type: ignore[no-untyped-call]
        columns: list[Any] = [ColSpec(anything, column.name, required=column.required) for column in own.inputs]
        super().__init__(columns)
        self._csv = [
            np.dtype(float) if column_types.get(column.name) == "number" else np.dtype(object) for column in columns
        ]

    def pandas_types(self) -> list[Any]:
        """Return what pandas reads the columns of a CSV file as."""
        return self._csv


def _number(value: object) -> float:
    if isinstance(value, str):
        return parse_number(value)
    # A boolean is no number, as in files.
    if isinstance(value, bool):
        raise TypeError
    return float(value)  # type: ignore[arg-type]


def _truth(value: object) -> bool:
    return BOOLEANS[str(value).strip().lower()]


def _text(value: object) -> str:
    if isinstance(value, list | dict):
        raise TypeError
    return category_text(value)


def _converted(column: pd.Series, convert: Callable[[Any], Any], words: str, missing: object) -> pd.Series:
    """Return a column with each value converted, and the missing ones as ``missing``.

    Raises:
        MlflowException: A value cannot be converted; MLflow's server answers with 400.
    """
    values = []
    for value, gap in zip(column.tolist(), column.isna(), strict=True):
        try:
            values.append(missing if gap else convert(value))
        except (ValueError, TypeError, KeyError, OverflowError):
            raise MlflowException(
                f"column {column.name!r} holds {value!r}; the model takes {words}", error_code=INVALID_PARAMETER_VALUE
            ) from None
    return pd.Series(values, index=column.index)
