"""Measures how much each feature matters to a fitted model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

MOST_ROWS, FEWEST_ROWS = 2_000, 16
#: Leaves times rows that contributions are computed for, about 0.06 s: their time grows with both.
EFFORT = 400_000


@dataclass(frozen=True)
class Importance:
    """What each feature is worth.

    ``gain`` is (features,), the loss that splits on a feature saved in training; ``contribution`` is (features,), the
    mean of the absolute SHAP values (log-odds) over ``rows`` rows.
    """

    names: list[str]
    gain: NDArray[np.float64]
    contribution: NDArray[np.float64]
    rows: int


def measure_importance(pipeline: Any, features: pd.DataFrame, probability: NDArray[np.float64]) -> Importance:
    """Return the importance of the features to a fitted pipeline.

    SHAP values come from LightGBM itself, for a sample of the rows: as many as large models leave time for, evenly
    spread over the range of scores, which makes a small sample speak for the whole.

    Args:
        pipeline: The encoder and the classifier, as ``fit`` returns them inside the model.
        features: The raw feature table.
        probability: (rows,) the pipeline's scores of these features.
    """
    encode, booster = pipeline[0], pipeline[-1].booster_
    iterations = booster.best_iteration if booster.best_iteration > 0 else booster.current_iteration()
    leaves = iterations * int(pipeline[-1].get_params()["num_leaves"])
    wanted = min(max(EFFORT // leaves, FEWEST_ROWS), MOST_ROWS, len(features))
    order = np.argsort(probability, kind="stable")
    sample = order[((np.arange(wanted) + 0.5) * len(order) / wanted).astype(np.int64)]
    encoded = encode.transform(features.iloc[sample])
    values = np.asarray(booster.predict(encoded, pred_contrib=True, num_threads=1, num_iteration=iterations))
    return Importance(
        names=[str(name) for name in encoded.columns],
        gain=np.asarray(booster.feature_importance("gain", iteration=iterations), dtype=np.float64),
        # The last column is the same for all rows: the mean score.
        contribution=np.abs(values[:, :-1]).mean(axis=0),
        rows=wanted,
    )
