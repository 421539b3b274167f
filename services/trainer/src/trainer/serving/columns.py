"""What a request's columns are read as: what the model was trained on, whatever a client writes it as.

MLflow's reading of requests makes "perhaps" and a missing value true where a boolean is expected, and its check of
numbers refuses an integer in the place of a decimal, which is why the signature of the trainer's models leaves their
type open. Here numbers are read as decimals, and booleans as true, false, or missing; anything else is refused, and its
column named.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd
    from mlflow.pyfunc import PyFuncModel
    from mlflow.types import Schema

_TRUTH_WORDS = {"true": True, "false": False, "1": True, "0": False}


def typed(model: PyFuncModel) -> Any:
    """Return what MLflow's scoring server takes for a model, reading columns by the kinds that the trainer noted."""
    return _Typed(model)


class _Typed:
    def __init__(self, model: PyFuncModel) -> None:
        self._model = model
        self._kinds: dict[str, str] = (model.metadata.metadata or {}).get("columns", {})
        self.metadata = _Metadata(model.metadata, self._kinds)

    def predict(self, data: Any, params: dict[str, Any] | None = None) -> Any:
        import pandas as pd

        if self._kinds and isinstance(data, dict):
            data = pd.DataFrame(data)
        if isinstance(data, pd.DataFrame):
            for name, kind in self._kinds.items():
                if kind == "boolean" and name in data.columns and data[name].dtype != bool:
                    data[name] = _booleans(data[name])
        return self._model.predict(data, params=params)


class _Metadata:
    """A model's metadata, with the schema that requests are read by; the model's own check comes after it."""

    def __init__(self, metadata: Any, kinds: dict[str, str]) -> None:
        self._metadata = metadata
        self._schema = _schema(metadata.get_input_schema(), kinds)

    def get_input_schema(self) -> Schema | None:
        return self._schema

    def __getattr__(self, name: str) -> Any:
        return getattr(self._metadata, name)


def _schema(schema: Schema | None, kinds: dict[str, str]) -> Schema | None:
    from mlflow.types import ColSpec, DataType, Schema

    if schema is None or not schema.has_input_names():
        return schema
    # A boolean read as text stays what it is: true, "true", or nothing.
    types: dict[str, Any] = {"number": DataType.double, "boolean": DataType.string}
    return Schema(
        [
            ColSpec(types.get(kinds.get(str(column.name), ""), column.type), column.name, required=column.required)
            for column in schema.inputs
        ]
    )


def _booleans(column: pd.Series) -> pd.Series:
    """Return a column as booleans; as objects with gaps where some are missing.

    Raises:
        MlflowException: A value is neither true nor false; MLflow's server answers with 400.
    """
    from mlflow.exceptions import MlflowException
    from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE

    missing = column.isna()
    words = column.astype(object).map(lambda value: _TRUTH_WORDS.get(str(value).strip().lower()))
    wrong = words.isna() & ~missing
    if wrong.any():
        value = column[wrong].iloc[0]
        raise MlflowException(
            f"column {column.name!r} holds {value!r}; the model takes true or false",
            error_code=INVALID_PARAMETER_VALUE,
        )
    return words.where(~missing, None) if missing.any() else words.astype(bool)
