"""Loads a model in MLflow's format, and scores chunks with it.

The trainer's own models are scored without scikit-learn's and pandas' share of the work: Arrow looks up the category
codes, and the numbers go straight to LightGBM. Whether that gives the same figures is not taken on trust: the first
rows are scored both ways, and a model for which they differ in a single bit is scored the long way.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from trainer.data.sources import listed, unknown_texts
from trainer.scoring.columns import Feature, Type, own_kinds, to_pandas
from trainer.util.errors import InputError, TrainerError, one_line

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

#: How many of the first rows are scored both ways.
CHECKED_ROWS = 256
#: The threshold of a classifier that has none of its own.
_HALF = 0.5
_SIGNATURE: Mapping[str, Type] = {
    "boolean": "boolean",
    "integer": "integer",
    "long": "long",
    "float": "float",
    "double": "number",
    "string": "text",
    "datetime": "datetime",
}

#: A chunk's converted features, by name.
Columns = Mapping[str, pa.Array]


class Scorer(ABC):
    """Scores chunks. ``outputs`` are the columns that it adds; ``score`` may be called by several threads at once."""

    outputs: tuple[str, ...]
    threshold: float | None = None
    #: The class that the probability is of, the second of two; None where there are no two classes.
    positive: Any = None

    @abstractmethod
    def score(self, columns: Columns, rows: int) -> list[pa.Array]:
        """Return the columns ``outputs`` of a chunk."""

    def remarks(self) -> list[str]:
        """Return remarks on what was scored."""
        return []


@dataclass(frozen=True)
class Loaded:
    """A loaded model.

    ``features`` are the columns that it takes; None where the model does not know their types, and ``names`` None where
    it does not know their names either. ``own`` says that the trainer made it.
    """

    model: Any
    flavor: str
    features: tuple[Feature, ...] | None
    names: tuple[str, ...] | None
    own: bool

    def scorer(self, features: Sequence[Feature], columns: Columns, rows: int, threads: int) -> Scorer:
        """Return the fastest scorer that gives the model's own figures on the first rows of a chunk."""
        general = _general(self, features, threads)
        if self.own and isinstance(general, ClassifierScorer):
            head = {name: column.slice(0, CHECKED_ROWS) for name, column in columns.items()}
            if (trees := TreeScorer.of(self.model, features)) is not None and _agree(
                trees, general, head, min(rows, CHECKED_ROWS)
            ):
                # They are scored once more, with the others.
                trees.texts.clear()
                return trees
        return general


def load(folder: Path, name: str) -> Loaded:
    """Load the model in a folder.

    Args:
        folder: A folder in MLflow's model format.
        name: How messages name the model.

    Raises:
        InputError: The folder holds no model, or one that takes no tables.
        TrainerError: The model cannot be loaded here.
    """
    from mlflow.models import Model

    if not (folder / "MLmodel").is_file():
        raise InputError(f"{name}: holds no model (there is no MLmodel file in it) (--model)")
    try:
        described = Model.load(str(folder))
        flavor = next((known for known in ("sklearn", "lightgbm") if known in described.flavors), "pyfunc")
        features = _features(described, name)
        model = _load(flavor, folder)
    except TrainerError:
        raise
    except ModuleNotFoundError as error:
        raise TrainerError(f"{name}: needs the package {error.name!r}, which is not installed here") from error
    except Exception as error:  # whatever a foreign model's own code raises
        raise TrainerError(f"{name}: cannot be loaded: {one_line(error, 300)}") from error
    names = tuple(feature.name for feature in features) if features is not None else _names(model)
    return Loaded(model, flavor, features, names, own=own_kinds(described) is not None)


def _load(flavor: str, folder: Path) -> Any:
    if flavor == "sklearn":
        import mlflow.sklearn

        return mlflow.sklearn.load_model(str(folder))
    if flavor == "lightgbm":
        import mlflow.lightgbm

        return mlflow.lightgbm.load_model(str(folder))
    import mlflow.pyfunc

    return mlflow.pyfunc.load_model(str(folder))


def _features(described: Any, name: str) -> tuple[Feature, ...] | None:
    if (kinds := own_kinds(described)) is not None:
        return tuple(Feature(str(column), kind) for column, kind in kinds.items())
    inputs = described.get_input_schema()
    if inputs is None or not inputs.inputs:
        return None
    if inputs.is_tensor_spec() or not inputs.has_input_names():
        raise InputError(f"{name}: takes arrays, not tables with named columns; it cannot score a file (--model)")
    features = []
    for column in inputs.inputs:
        # "any" and the like: the file itself decides, as if there were no signature.
        known = _SIGNATURE.get(getattr(column.type, "name", ""))
        if known is None and type(column.type).__name__ == "AnyType":
            return None
        if known is None:
            raise InputError(f"{name}: takes {column.type} in column {column.name!r}, which no table file holds")
        features.append(Feature(column.name, known, bool(column.required)))
    return tuple(features)


def _names(model: Any) -> tuple[str, ...] | None:
    """Return the names of the columns that a model without a signature was trained on, if it knows them."""
    names = getattr(model, "feature_names_in_", None)
    if names is None and callable(getattr(model, "feature_name", None)):
        names = model.feature_name()
    # LightGBM's names for columns that had none.
    if names is None or all(str(name) == f"Column_{index}" for index, name in enumerate(names)):
        return None
    return tuple(str(name) for name in names)


def _general(loaded: Loaded, features: Sequence[Feature], threads: int) -> Scorer:
    model = loaded.model
    if loaded.flavor != "pyfunc" and hasattr(model, "predict_proba") and getattr(model, "classes_", None) is not None:
        return ClassifierScorer(model, features)
    if loaded.flavor == "lightgbm" and hasattr(model, "predict") and hasattr(model, "params"):
        objective = str(model.dump_model(num_iteration=1).get("objective", ""))
        if objective.startswith(("binary", "cross_entropy")):
            return BoosterScorer(model, features, threads)
    return PredictionScorer(model, features)


def _agree(one: Scorer, other: Scorer, columns: Columns, rows: int) -> bool:
    try:
        pairs = zip(one.score(columns, rows), other.score(columns, rows), strict=True)
        return all(first.equals(second) for first, second in pairs)
    except (TypeError, ValueError, AttributeError, pa.ArrowException):
        return False


def frame(columns: Columns, features: Sequence[Feature]) -> pd.DataFrame:
    """Return a chunk as the pandas table that models are trained on."""
    import pandas as pd

    present = [feature for feature in features if feature.name in columns]
    return pd.DataFrame({feature.name: to_pandas(columns[feature.name], feature) for feature in present})


class ClassifierScorer(Scorer):
    """Any classifier with scikit-learn's interface, by its own methods."""

    def __init__(self, model: Any, features: Sequence[Feature]) -> None:
        self._model, self._features = model, features
        classes = list(model.classes_)
        self._binary = len(classes) == 2
        several = tuple(f"probability_{label}" for label in classes)
        self.outputs = (*(("probability",) if self._binary else several), "class")
        self.positive = _labels(classes)[1].as_py() if self._binary else None
        threshold = getattr(model, "threshold", None)
        self.threshold = float(threshold) if isinstance(threshold, float) else None

    def score(self, columns: Columns, rows: int) -> list[pa.Array]:
        """Return the probability (of the second of two classes, or of each class), and the class."""
        del rows
        table = frame(columns, self._features)
        probability = np.asarray(self._model.predict_proba(table), dtype=np.float64)
        shown = [probability[:, 1]] if self._binary else list(probability.T)
        # By the model itself: it may have a threshold of its own, or rules beyond one.
        return [*(pa.array(values) for values in shown), _labels(self._model.predict(table))]


class BoosterScorer(Scorer):
    """A bare LightGBM booster with a probability; it has no threshold of its own."""

    outputs = ("probability", "class")
    threshold = _HALF
    positive = 1

    def __init__(self, booster: Any, features: Sequence[Feature], threads: int) -> None:
        self._booster, self._features, self._threads = booster, features, threads

    def score(self, columns: Columns, rows: int) -> list[pa.Array]:
        """Return the probability, and the class at one half."""
        del rows
        probability = self._booster.predict(frame(columns, self._features), num_threads=self._threads)
        return [pa.array(probability), pa.array((probability >= _HALF).astype(np.int64))]


class PredictionScorer(Scorer):
    """Any other model: what its ``predict`` returns, in one column or several. The first chunk tells their names."""

    def __init__(self, model: Any, features: Sequence[Feature]) -> None:
        self._model, self._features = model, features

    def score(self, columns: Columns, rows: int) -> list[pa.Array]:
        """Return the prediction."""
        returned = self._model.predict(frame(columns, self._features))
        values = np.asarray(returned)
        if values.shape[:1] != (rows,) or values.ndim > 2:
            raise TrainerError(
                f"the model returns an array of shape {values.shape} for {rows} rows; expected a row for each"
            )
        if values.ndim == 1:
            self.outputs = ("prediction",)
            return [_labels(values)]
        if hasattr(returned, "columns"):
            # Column by column: together they may have no type in common.
            self.outputs = tuple(str(name) for name in returned.columns)
            return [_labels(returned.iloc[:, index]) for index in range(values.shape[1])]
        width = values.shape[1]
        self.outputs = ("prediction",) if width == 1 else tuple(f"prediction_{index}" for index in range(width))
        return [_labels(values[:, index]) for index in range(width)]


class TreeScorer(Scorer):
    """The trainer's own model, taken apart: the encoder's category codes, the booster, and the threshold."""

    outputs = ("probability", "class")

    def __init__(
        self,
        booster: Any,
        positions: Mapping[str, int],
        categories: Mapping[str, pa.Array],
        threshold: float,
        labels: NDArray[np.int64],
    ) -> None:
        self._booster, self._positions, self._categories = booster, positions, categories
        self.threshold, self._labels, self.positive = threshold, labels, int(labels[1])
        #: Of each column of texts how many there were, how many of them unknown, and one of those.
        self.texts: dict[str, tuple[int, int, str]] = {}
        self._counting = Lock()

    @classmethod
    def of(cls, model: Any, features: Sequence[Feature]) -> TreeScorer | None:
        """Return the scorer of a model that is built as ``trainer.fit`` builds them; None for any other."""
        try:
            pipeline = model.estimator_
            # A frozen estimator passes everything on to the one inside.
            pipeline = getattr(pipeline, "estimator", pipeline)
            encode, classify = pipeline.named_steps["encode"], pipeline.named_steps["classify"]
            categories: dict[str, pa.Array] = {}
            for name, transformer, columns in encode.transformers_:
                if name == "text":
                    for column, known in zip(columns, transformer.categories_, strict=True):
                        # A gap is the last category, if it is one; its code is a gap as well.
                        texts = [value for value in known if isinstance(value, str)]
                        categories[column] = pa.array(texts, pa.string())
            positions = {str(name): index for index, name in enumerate(encode.get_feature_names_out())}
            if set(positions) != {feature.name for feature in features}:
                return None
            labels = np.asarray(model.classes_, dtype=np.int64)
            return cls(classify.booster_, positions, categories, float(model.threshold), labels)
        except (AttributeError, KeyError, TypeError, ValueError):
            return None

    def score(self, columns: Columns, rows: int) -> list[pa.Array]:
        """Return the probability, and the class at the model's threshold."""
        # Row by row in memory, as LightGBM walks it.
        matrix = np.empty((rows, len(self._positions)))
        for name, position in self._positions.items():
            column = columns[name]
            if (known := self._categories.get(name)) is not None:
                codes = pc.index_in(column, value_set=known)
                self._count(name, column, codes)
                column = codes
            if column.type != pa.float64():
                column = column.cast(pa.int32()).cast(pa.float64())
            # A gap becomes NaN here.
            matrix[:, position] = column.to_numpy(zero_copy_only=False)
        # One thread a call: chunks are scored side by side instead, which does not suffer on busy cores.
        probability = self._booster.predict(matrix, num_threads=1)
        return [pa.array(probability), pa.array(self._labels[(probability >= self.threshold).astype(np.intp)])]

    def remarks(self) -> list[str]:
        """Return a remark for each column of texts most of which the model does not know."""
        found = {
            name: unknown_texts(strange, given, "rows", example)
            for name, (given, strange, example) in self.texts.items()
        }
        return [f"column {name!r} {remark}" for name, remark in found.items() if remark is not None]

    def _count(self, name: str, texts: pa.Array, codes: pa.Array) -> None:
        new = ""
        if codes.null_count > texts.null_count:
            new = texts[pc.index(pc.and_(codes.is_null(), texts.is_valid()), True).as_py()].as_py()
        with self._counting:
            given, strange, example = self.texts.get(name, (0, 0, ""))
            self.texts[name] = (
                given + len(texts) - texts.null_count,
                strange + codes.null_count - texts.null_count,
                example or new,
            )


def _labels(values: Any) -> pa.Array:
    """Return classes or predictions as a column; whatever is neither number nor boolean as text."""
    array = np.asarray(values)
    if array.dtype == object or array.dtype.kind not in "biuf":
        return pa.array([None if value is None else str(value) for value in array.tolist()], pa.string())
    if array.dtype.kind in "iu":
        return pa.array(array.astype(np.int64))
    return pa.array(array)


def missing_columns(features: Sequence[Feature], names: Sequence[str], source: str) -> None:
    """Refuse a table that lacks columns which the model takes."""
    import difflib

    missing = [feature.name for feature in features if feature.required and feature.name not in names]
    if not missing:
        return
    unused = [name for name in names if name not in {feature.name for feature in features}]
    plural = "s" if len(missing) > 1 else ""
    # Letters' case and white space are what names differ by most often.
    by_look = {name.strip().lower(): name for name in unused}
    close = by_look.get(missing[0].strip().lower()) or next(
        iter(difflib.get_close_matches(missing[0], unused, n=1)), None
    )
    if close is not None:
        hint = f"; is {missing[0]!r} the file's {close!r}?"
    else:
        hint = f"; the file's other columns are {listed(unused)}" if unused else ""
    raise InputError(f"{source}: lacks {len(missing)} column{plural} that the model takes: {listed(missing)}{hint}")
