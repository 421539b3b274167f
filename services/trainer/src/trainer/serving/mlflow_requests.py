"""Finds what MLflow's scoring server would read wrongly without an error, in requests to models of others.

Of a CSV row with more fields than the header, pandas takes what is too much for an index, and reads each value into the
next column; of one with fewer it makes missing values of the rest, in JSON too. Of two columns of a name it takes one.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE

from trainer.data.csv_row_faults import nul_row, uneven_row, uneven_rows

if TYPE_CHECKING:
    from mlflow.pyfunc import PyFuncModel


def wrong(body: bytes, *, is_csv: bool) -> str | None:
    """Return what is wrong with a request's text, or None."""
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        return f"the request is not UTF-8 text (byte {error.start:,})"
    if not is_csv:
        return _wrong_lists(text)
    header: list[str] = []
    with suppress(csv.Error):
        header = next(csv.reader(io.StringIO(text, newline="")), [])
    nul = nul_row(io.StringIO(text, newline="")) if "\0" in text else None
    return nul or repeated(header) or uneven_rows(io.StringIO(text, newline=""))


def repeated(names: Iterable[object]) -> str | None:
    """Return what is wrong with the names of columns of which two are the same, or None."""
    seen: set[object] = set()
    for name in names:
        if name in seen:
            return f"column {name!r} appears more than once; columns need names of their own"
        seen.add(name)
    return None


def _wrong_lists(text: str) -> str | None:
    """Return what is wrong with a table of lists in JSON, or None."""
    try:
        split = json.loads(text)["dataframe_split"]
        names, rows = split["columns"], split["data"]
        if (twice := repeated(names)) is not None:
            return twice
        lengths: Sequence[int] = [len(row) if isinstance(row, list) else len(names) for row in rows]
    except (ValueError, RecursionError, LookupError, TypeError):
        # What is no such table, MLflow's server says.
        return None
    number = next((number for number, length in enumerate(lengths, start=1) if length != len(names)), None)
    return None if number is None else uneven_row(number, lengths[number - 1], len(names))


class WithRows:
    """A model that refuses a table without rows: MLflow's own server lets some of them fail in their own words."""

    def __init__(self, model: PyFuncModel) -> None:
        self._model, self.metadata = model, model.metadata

    def predict(self, data: Any, params: dict[str, Any] | None = None) -> Any:
        """Return the predictions."""
        if getattr(data, "empty", False) and len(data.columns):
            raise MlflowException("the request holds no rows", error_code=INVALID_PARAMETER_VALUE)
        return self._model.predict(data, params=params)
