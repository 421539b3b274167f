"""The options for another estimator in LightGBM's place."""

from __future__ import annotations

from trainer.cli.options.option import option
from trainer.cli.options.value_types import Parameters

estimator_option = option(
    "--estimator",
    metavar="MODULE:CLASS",
    group="Another estimator",
    env="TRAINER_ESTIMATOR",
    help="A class with scikit-learn's interface in LightGBM's place, such as sklearn.ensemble:RandomForestClassifier,"
    " or one of your own as /data/models.py:Mine. Texts become a column for each category, gaps the median.",
)

estimator_params_option = option(
    "--estimator-params",
    type=Parameters(),
    metavar="MAPPING",
    group="Another estimator",
    env="TRAINER_ESTIMATOR_PARAMS",
    help="What its class is called with, such as '{n_estimators: 300, max_depth: 8}'.",
)
