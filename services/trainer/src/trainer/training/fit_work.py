"""What a fit is given: a variant, and the data set that it is fitted to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from trainer.config.other_estimator import OtherEstimator
from trainer.config.parameter import Value
from trainer.config.selection_metric import Metric
from trainer.data.dataset import Dataset


@dataclass(frozen=True)
class FitWork:
    """What all fits of a variant have in common; plain data, which travels to other processes.

    ``params`` are the variant's complete parameters; ``seed`` seeds the hold-out and the folds, and LightGBM where the
    parameters name no other; ``metric`` is what stops a fit early; ``other`` is another estimator, in place of LightGBM
    with the parameters.
    """

    params: Mapping[str, Value]
    dataset: Dataset
    seed: int
    metric: Metric
    other: OtherEstimator | None = None
