"""The metrics of a regression: how far predictions are from the truth."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Which quantiles of the errors are told: of their sizes, and of the errors themselves (prediction minus truth).
_SIZES, _ERRORS = (50, 90), (5, 50, 95)


def metrics_of(
    target: NDArray[np.float64], predicted: NDArray[np.float64], weight: NDArray[np.float64] | None = None
) -> dict[str, float]:
    """Return RMSE, MAE, R2, and quantiles of the error.

    Args:
        target: (rows,) what is true.
        predicted: (rows,) predictions.
        weight: (rows,) positive weights; None where each row counts once.
    """
    from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

    error = predicted - target
    return {
        "rmse": float(root_mean_squared_error(target, predicted, sample_weight=weight)),
        "mae": float(mean_absolute_error(target, predicted, sample_weight=weight)),
        # Of a target that does not vary, and of one row, there is none.
        "r2": float(r2_score(target, predicted, sample_weight=weight)) if np.ptp(target) > 0 else 0.0,
        **{f"absolute_error_p{share}": quantile(np.abs(error), share / 100, weight) for share in _SIZES},
        **{f"error_p{share:02}": quantile(error, share / 100, weight) for share in _ERRORS},
    }


def quantile_metrics(
    target: NDArray[np.float64],
    predicted: NDArray[np.float64],
    quantile: float,
    weight: NDArray[np.float64] | None = None,
) -> dict[str, float]:
    """Return the loss of a predicted quantile, and the share of the rows whose truth is at it or below.

    Args:
        target: (rows,) what is true.
        predicted: (rows,) predictions of the quantile.
        quantile: Which one, from 0 to 1.
        weight: (rows,) positive weights; None where each row counts once.
    """
    from sklearn.metrics import mean_pinball_loss

    return {
        "quantile_loss": float(mean_pinball_loss(target, predicted, alpha=quantile, sample_weight=weight)),
        "share_below": float(np.average(target <= predicted, weights=weight)),
    }


def quantile(values: NDArray[np.float64], share: float, weight: NDArray[np.float64] | None = None) -> float:
    """Return the value that a share (0 to 1) of the rows, or of their weights, does not exceed."""
    if weight is None:
        return float(np.quantile(values, share))
    options: dict[str, Any] = {"weights": weight, "method": "inverted_cdf"}
    return float(np.quantile(values, share, **options))
