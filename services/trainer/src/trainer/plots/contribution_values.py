"""Contributions: by how much each feature moved the score of each row, and how sure their means are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from trainer.training.pipeline import rounds_used

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Contributions:
    """The SHAP values of some rows of a table: log-odds of two classes, scores of the called one of several, numbers.

    ``rows`` is (rows,), their places in the table, which has ``total`` rows; ``values`` and ``encoded`` are
    (rows, features), the contributions and what the trees saw; ``base`` is the mean score, which differs between
    several classes.
    """

    names: list[str]
    rows: NDArray[np.int64]
    total: int
    values: NDArray[np.float64]
    encoded: NDArray[np.float64]
    base: float | NDArray[np.float64]

    @property
    def mean(self) -> NDArray[np.float64]:
        """The mean absolute contribution of each feature."""
        return np.abs(self.values).mean(axis=0)  # type: ignore[no-any-return]

    @property
    def margin(self) -> NDArray[np.float64]:
        """How far each mean may be from that of all rows, with 95 % confidence; 0 where all rows were taken."""
        count = len(self.rows)
        if count == self.total:
            return np.zeros(len(self.names))
        # As for rows drawn at random. Rows that are spread over the range of scores are nearer.
        deviation = np.abs(self.values).std(axis=0, ddof=1)
        return 1.96 * deviation * np.sqrt((1 / count) * (1 - count / self.total))  # type: ignore[no-any-return]


def spread_rows(probability: NDArray[np.float64], wanted: int) -> NDArray[np.int64]:
    """Return the places of the wanted number of rows, evenly spread over the range of scores, in ascending order."""
    order = np.argsort(probability, kind="stable")
    count = min(wanted, len(order))
    return np.sort(order[((np.arange(count) + 0.5) * len(order) / count).astype(np.int64)])


def measure_contributions(
    pipeline: Any, rows_at: Callable[[NDArray[np.int64]], pd.DataFrame], scores: NDArray[np.float64], wanted: int
) -> Contributions:
    """Return the contributions to a fitted pipeline's scores, as LightGBM computes them.

    Args:
        pipeline: The encoder and the classifier, as ``fit`` returns them inside the model.
        rows_at: Returns the raw features of the rows at some places.
        scores: (rows,) or (rows, classes) the pipeline's scores of all rows.
        wanted: For how many rows; all where the table has fewer.
    """
    encode, classify = pipeline[0], pipeline[-1]
    rows = spread_rows(scores if scores.ndim == 1 else scores.max(axis=1), wanted)
    trees = rounds_used(classify)
    encoded = encode.transform(rows_at(rows))
    found = classify.booster_.predict(encoded, pred_contrib=True, num_threads=1, num_iteration=trees)
    values = np.asarray(found, dtype=np.float64)
    if scores.ndim > 1:
        # Of several classes, what speaks for the one that the row is called.
        of_classes = values.reshape(len(rows), scores.shape[1], -1)
        values = of_classes[np.arange(len(rows)), scores[rows].argmax(axis=1)]
    if classify.get_params()["boosting_type"] == "rf":
        # A forest's score is the mean of its trees; LightGBM adds their contributions up.
        values = values / trees
    return Contributions(
        names=[str(name) for name in encoded.columns],
        rows=rows,
        total=len(scores),
        values=values[:, :-1],
        encoded=encoded.to_numpy(dtype=np.float64),
        base=values[:, -1],
    )
