"""What a user should know of a fitted variant: that it is no better than a constant, or learnt too long."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from trainer.data.dataset import Table
    from trainer.training.fit import FitResult

#: Fewer iterations than this rarely make a model.
FEWEST_ITERATIONS = 10
#: The loss was lowest this early, and has risen by this share since: more iterations only fitted noise.
_EARLY, _RISEN = 0.6, 0.02
#: The objectives that minimise the loss that a run's history holds.
SQUARED = ("binary", "multiclass", "regression")


def fit_warnings(fitted: FitResult, train: Table) -> tuple[str, ...]:
    """Return warnings on a fitted variant, in the order of their weight.

    Args:
        fitted: The variant.
        train: The training rows.
    """
    if not fitted.is_lightgbm and _is_constant(fitted):
        return ("the model gives each row the same answer",)
    constant = fitted.task.constant_warning(fitted, train)
    of_trees = (_few(fitted), _overfitted(fitted)) if fitted.is_lightgbm else ()
    return tuple(warning for warning in (constant, *of_trees) if warning)


def _is_constant(fitted: FitResult) -> bool:
    return float(np.max(np.ptp(fitted.scores, axis=0))) == 0


def _few(fitted: FitResult) -> str | None:
    # With folds, the last model makes no more than they did at their best.
    asked = max(int(fitted.params["n_estimators"] or 0), *map(len, fitted.fold_losses), 0)
    if fitted.iterations >= min(FEWEST_ITERATIONS, asked):
        return None
    if not (fitted.folds or fitted.params.get("early_stopping_round")):
        return (
            f"only {fitted.iterations} of {asked} iterations found a split: fewer --min-child-samples, or more rows,"
            " allow more"
        )
    return (
        f"early stopping left {fitted.iterations} of {asked} iterations: a larger --early-stopping-round, a smaller"
        " --learning-rate, or another --metric keeps more"
    )


def _overfitted(fitted: FitResult) -> str | None:
    if fitted.params.get("objective") not in SQUARED:
        # The loss that is watched is not the one that is minimised.
        return None
    loss = np.array(fitted.loss)
    lowest = int(np.argmin(loss)) + 1
    kept = min(fitted.iterations, len(loss))
    if lowest > _EARLY * kept or loss[kept - 1] < (1 + _RISEN) * loss[lowest - 1]:
        return None
    return (
        f"over-fitted: the validation loss is lowest after {lowest} of {kept} iterations and"
        f" {loss[kept - 1] / loss[lowest - 1] - 1:.0%} higher at the end; --early-stopping-round 20 stops in time, or"
        " give fewer --n-estimators or a smaller --learning-rate"
    )
