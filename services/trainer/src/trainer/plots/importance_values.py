"""Measures how much each feature matters to a fitted model, by what its trees tell: exact, and without any rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from trainer.training.pipeline import rounds_used

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Importance:
    """What each feature is worth in the ``trees`` trees that predict.

    ``gain`` is (features,), the loss that splits on a feature saved on the training rows; ``splits`` is (features,),
    how many splits it has.
    """

    names: list[str]
    gain: NDArray[np.float64]
    splits: NDArray[np.int64]
    trees: int


def measure_importance(pipeline: Any) -> Importance:
    """Return the importance of the features to a fitted pipeline: the encoder and the classifier."""
    booster, trees = pipeline[-1].booster_, rounds_used(pipeline[-1])
    return Importance(
        names=[str(name) for name in pipeline[0].get_feature_names_out()],
        gain=np.asarray(booster.feature_importance("gain", iteration=trees), dtype=np.float64),
        splits=np.asarray(booster.feature_importance("split", iteration=trees), dtype=np.int64),
        trees=trees,
    )
