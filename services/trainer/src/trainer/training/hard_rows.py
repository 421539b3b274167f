"""Rows that are hard to answer. On them, a model that was taken apart is compared with the model itself.

A server takes the trainer's models apart, and asks their trees without scikit-learn. The rows are made of what a model
knows: its categories and other texts, the bounds of its numbers and numbers beyond them, and missing values in every
column. When a model is saved, the digest of its own answers to these rows is saved with it.
"""

from __future__ import annotations

import hashlib
import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from trainer.config.values import ColumnType

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

ROWS = 256
#: Both zeros, what LightGBM takes for zero, the largest and the smallest numbers, whole numbers beyond 2**53.
_EXTREMES = (
    *(0.0, -0.0, 1e-35, -1e-35, 1.0, -1.0, 0.5, math.inf, -math.inf),
    *(1.7976931348623157e308, -1.7976931348623157e308, 5e-324, 2.0**53 + 2, -(2.0**63)),
)
#: Larger bounds are cut to this: their difference would be infinite.
_LARGE = 1e300
#: Texts that no column has, or that are nearly those that one has.
_STRANGE = ("", " ", "unheard of", "0", "nan", "\u00e9\u0301", "\u4e2d\u6587", "\x00", "'\"\\")


@dataclass(frozen=True)
class Ranges:
    """What a model's columns hold: their types, the categories of the texts, and the bounds of the numbers."""

    columns: Mapping[str, ColumnType]
    categories: Mapping[str, tuple[str, ...]]
    bounds: Mapping[str, tuple[float, float]]


def hard_rows(ranges: Ranges) -> dict[str, list[Any]]:
    """Return the columns of rows that are hard to answer; the same ones for the same ranges, everywhere."""
    chance = random.Random(0)  # noqa: S311 - no secret
    return {name: _column(name, kind, ranges, chance) for name, kind in ranges.columns.items()}


def answers_digest(scores: NDArray[np.float64], classes: NDArray[np.int64]) -> str:
    """Return a SHA-256 digest of probabilities or numbers, and codes of classes, which differs for any other bit."""
    state = hashlib.sha256(scores.astype("<f8").tobytes())
    state.update(classes.astype("<i8").tobytes())
    return state.hexdigest()


def ask_model(model: Any, ranges: Ranges) -> str:
    """Return the digest of what a fitted model says to the hard rows."""
    import numpy as np

    rows = _frame(*(tuple(part.items()) for part in (ranges.columns, ranges.categories, ranges.bounds)))
    answers = model.predict(rows)
    if not hasattr(model, "predict_proba"):
        return answers_digest(answers, np.empty(0, dtype=np.int64))
    codes = {label: code for code, label in enumerate(model.classes_.tolist())}
    probability = model.predict_proba(rows)
    called = np.array([codes[answer] for answer in answers.tolist()], dtype=np.int64)
    return answers_digest(probability[:, 1] if len(codes) == 2 else probability, called)


@lru_cache(maxsize=1)
def _frame(
    columns: tuple[tuple[str, ColumnType], ...],
    categories: tuple[tuple[str, tuple[str, ...]], ...],
    bounds: tuple[tuple[str, tuple[float, float]], ...],
) -> pd.DataFrame:
    """Return the hard rows as a table; the variants of a sweep have the same ones."""
    import pandas as pd

    ranges = Ranges(dict(columns), dict(categories), dict(bounds))
    return pd.DataFrame({name: _series(values, ranges.columns[name]) for name, values in hard_rows(ranges).items()})


def feature_bounds(trees: str, order: Sequence[str]) -> dict[str, tuple[float, float]]:
    """Return the smallest and the largest value of each number in training, as LightGBM's text says them."""
    line = next((line for line in trees.split("\n", 20) if line.startswith("feature_infos=")), "")
    found = {}
    for name, info in zip(order, line.removeprefix("feature_infos=").split(" "), strict=False):
        if info.startswith("[") and ":" in info:
            low, _, high = info.strip("[]").partition(":")
            found[name] = (float(low), float(high))
    return found


def _series(values: Sequence[Any], kind: ColumnType) -> pd.Series:
    """Return a column as the pandas series that the model was trained on."""
    import pandas as pd

    if kind == "number":
        return pd.Series(values, dtype="float64")
    filled = [math.nan if value is None else value for value in values]
    return pd.Series(filled, dtype="str" if kind == "text" else object)


def _column(name: str, kind: ColumnType, ranges: Ranges, chance: random.Random) -> list[Any]:
    if kind == "boolean":
        return [_pick((True, False, None), chance) for _ in range(ROWS)]
    if kind == "text":
        known = tuple(ranges.categories.get(name, ())) or ("",)
        # Texts that are nearly categories.
        near = tuple(f"{category} " for category in known[:3]) + tuple(category.swapcase() for category in known[:3])
        strange = _STRANGE + near
        return [
            _pick((_pick(known, chance), _pick(known, chance), _pick(strange, chance), None), chance)
            for _ in range(ROWS)
        ]
    low, high = ranges.bounds.get(name, (-1.0, 1.0))
    # An infinite bound is cut: infinity itself is among the extremes.
    low, high = max(low, -_LARGE), min(high, _LARGE)
    values: list[float | None] = []
    for _ in range(ROWS):
        inside = low + chance.random() * (high - low)
        values.append(_pick((inside, inside, float(round(inside)), low, high, _pick(_EXTREMES, chance), None), chance))
    return values


def _pick(among: Sequence[Any], chance: random.Random) -> Any:
    return among[int(chance.random() * len(among))]
