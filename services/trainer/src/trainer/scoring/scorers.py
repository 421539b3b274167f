"""Scores chunks with a loaded model.

The trainer's own models are scored without scikit-learn's and pandas' share of the work: Arrow looks up the category
codes, and the numbers go straight to LightGBM. ``loaded_model`` checks on the first rows that both
ways agree bit for bit.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from trainer.config.task import Label
from trainer.data.arrow_columns import Feature, to_pandas
from trainer.data.unseen_categories import MOST_LOOKED_AT, unseen_categories_warning
from trainer.scoring.answers import Answers, answers_of, class_outputs
from trainer.training.model import parts_of
from trainer.training.pipeline import is_lightgbm
from trainer.util.errors import TrainerError

if TYPE_CHECKING:
    import pandas as pd

#: How many of the first rows are scored both ways.
CHECKED_ROWS = 256
#: The threshold of a classifier that has none of its own.
_HALF = 0.5
#: A chunk's converted features, by name.
Columns = Mapping[str, pa.Array]


class Scorer(ABC):
    """Scores chunks. ``outputs`` are the columns that it adds; ``score`` may be called by several threads at once."""

    outputs: tuple[str, ...]
    #: What it is called in results.
    way: str = "predict"
    threshold: float | None = None
    #: The class that the probability is of, the second of two; None where there are no two classes.
    positive: Any = None
    #: Whether several threads may score at once: another's code need not be safe.
    parallel: bool = False

    @abstractmethod
    def score(self, columns: Columns, rows: int) -> list[pa.Array]:
        """Return the columns ``outputs`` of a chunk."""

    def warnings(self) -> list[str]:
        """Return warnings on what was scored."""
        return []


def frame(columns: Columns, features: Sequence[Feature]) -> pd.DataFrame:
    """Return a chunk as the pandas table that models are trained on."""
    import pandas as pd

    present = [feature for feature in features if feature.name in columns]
    return pd.DataFrame({feature.name: to_pandas(columns[feature.name], feature) for feature in present})


class ClassifierScorer(Scorer):
    """Any classifier with scikit-learn's interface, by its own methods."""

    way = "predict_proba"

    def __init__(self, model: Any, features: Sequence[Feature]) -> None:
        self._model, self._features = model, features
        classes = list(model.classes_)
        self._binary = len(classes) == 2
        self.outputs = ("probability", "class") if self._binary else class_outputs(classes)
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
    way = "booster"
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


class OriginalLabels(Scorer):
    """Another scorer of two classes, whose answers are what the target column had instead of 0 and 1."""

    def __init__(self, scorer: Scorer, labels: Sequence[Label]) -> None:
        self._scorer, self._original = scorer, np.array(labels)
        self.outputs, self.way, self.threshold, self.parallel = (
            scorer.outputs,
            scorer.way,
            scorer.threshold,
            scorer.parallel,
        )
        self.positive = self._original[1].item()

    def score(self, columns: Columns, rows: int) -> list[pa.Array]:
        """Return the scorer's columns, the last of which is the class."""
        *others, called = self._scorer.score(columns, rows)
        return [*others, _labels(self._original[called.to_numpy()])]

    def warnings(self) -> list[str]:
        """Return the scorer's warnings."""
        return self._scorer.warnings()


class NotTakenApartError(TrainerError):
    """A model is not built as the trainer builds them; the message says where."""


class TreeScorer(Scorer):
    """The trainer's own model, taken apart: the encoder's category codes, the booster, and what they answer."""

    way = "trees"
    parallel = True

    def __init__(
        self, booster: Any, positions: Mapping[str, int], categories: Mapping[str, pa.Array], answers: Answers
    ) -> None:
        self._booster, self._positions, self._categories, self._answers = booster, positions, categories, answers
        self.outputs, self.threshold, self.positive = answers.outputs, answers.threshold, answers.positive
        #: Of each column of texts how many there were, how many of them unknown, and different ones of those.
        self.texts: dict[str, tuple[int, int, dict[str, None]]] = {}
        self._counting = Lock()

    @classmethod
    def of(cls, model: Any, features: Sequence[Feature]) -> TreeScorer:
        """Return the scorer of a model that is built as ``training.fit`` builds them.

        Raises:
            NotTakenApartError: The model is built in another way.
        """
        try:
            encode, estimate = parts_of(model)
            if not is_lightgbm(estimate):
                raise NotTakenApartError(f"its estimator is {type(estimate).__name__}")
            categories: dict[str, pa.Array] = {}
            for name, transformer, columns in encode.transformers_:
                # Without such a column its transformer is not fitted.
                if name == "text" and len(columns):
                    for column, known in zip(columns, transformer.categories_, strict=True):
                        # A missing value is the last category, if it is one; its code is a missing value as well.
                        texts = [value for value in known if isinstance(value, str)]
                        categories[column] = pa.array(texts, pa.string())
            positions = {str(name): index for index, name in enumerate(encode.get_feature_names_out())}
            if set(positions) != {feature.name for feature in features if feature.type != "unknown"}:
                raise NotTakenApartError("its columns are not those that it names")
            return cls(estimate.booster_, positions, categories, answers_of(model))
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise NotTakenApartError(f"it is built in another way ({type(error).__name__}: {error})") from error

    def score(self, columns: Columns, rows: int) -> list[pa.Array]:
        """Return the answers."""
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
            # A missing value becomes NaN here.
            matrix[:, position] = column.to_numpy(zero_copy_only=False)
        # One thread a call: chunks are scored side by side instead, which does not suffer on busy cores.
        scores = self._booster.predict(matrix, num_threads=1)
        return [_labels(values) for values in self._answers.columns(scores)]

    def warnings(self) -> list[str]:
        """Return a warning for each column of texts many of which the model does not know."""
        found = {
            name: unseen_categories_warning(unseen, given, "rows", examples, self._categories[name].to_pylist())
            for name, (given, unseen, examples) in self.texts.items()
        }
        return [f"column {name!r} {warning}" for name, warning in found.items() if warning is not None]

    def _count(self, name: str, texts: pa.Array, codes: pa.Array) -> None:
        new: list[str] = []
        unseen = codes.null_count - texts.null_count
        if unseen:
            new = pc.unique(texts.filter(pc.and_(codes.is_null(), texts.is_valid()))).to_pylist()
        with self._counting:
            given, before, examples = self.texts.setdefault(name, (0, 0, {}))
            for text in new[: MOST_LOOKED_AT - len(examples)]:
                examples[text] = None
            self.texts[name] = (given + len(texts) - texts.null_count, before + unseen, examples)


def _labels(values: Any) -> pa.Array:
    """Return classes or predictions as a column; whatever is neither number nor boolean as text."""
    array = np.asarray(values)
    if array.dtype == object or array.dtype.kind not in "biuf":
        return pa.array([None if value is None else str(value) for value in array.tolist()], pa.string())
    if array.dtype.kind in "iu":
        return pa.array(array.astype(np.int64))
    return pa.array(array)
