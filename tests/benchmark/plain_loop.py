"""What most people write: one variant after the other, tracked by MLflow's calls with their defaults. For comparison.

    plain_loop.py [NAME=VALUE,VALUE,…]…

Trains the standard variants, or each combination of the values that are given. Prints the F1 of each as JSON. Data and
split are the trainer's, so that the figures can be compared.
"""

import json
import sys
from typing import Any

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
import mlflow
import pandas as pd
from lightgbm import LGBMClassifier
from sklearn.metrics import PrecisionRecallDisplay, f1_score
from trainer.config.variant import STANDARD_VARIANTS, make_variant
from trainer.data.sources import load_data
from trainer.sweeps.variants import combine_lists
from trainer.training.validation_split import split_validation

#: MLflow's default format stores no LightGBM model without these.
TRUSTED = ["collections.OrderedDict", "lightgbm.basic.Booster", "lightgbm.sklearn.LGBMClassifier"]


def main() -> None:
    """Trains and tracks the variants."""
    dataset = load_data()
    rows, _ = split_validation(dataset, seed=42, validation_size=0.2)
    texts = dataset.columns("text")
    categories = {name: pd.CategoricalDtype(sorted(rows.features[name].dropna().unique())) for name in texts}
    train, test = rows.features.astype(categories), dataset.test.features.astype(categories)
    mlflow.set_experiment("plain_loop")
    standard = [make_variant(overrides) for overrides in ({}, *STANDARD_VARIANTS)]
    for variant in combine_lists(sys.argv[1:], (), {}).variants if sys.argv[1:] else standard:
        chosen: dict[str, Any] = {
            name: variant.params[name]
            for name in ("num_leaves", "min_child_samples", "max_depth", "n_estimators", "learning_rate")
        }
        with mlflow.start_run():
            mlflow.log_params(chosen)
            model = LGBMClassifier(**chosen, random_state=42, verbosity=-1)
            model.fit(train, rows.target)
            f1 = f1_score(dataset.test.target, model.predict(test))
            mlflow.log_metric("f1", f1)
            PrecisionRecallDisplay.from_estimator(model, test, dataset.test.target)
            plt.savefig("pr_curve.png")
            plt.close()
            mlflow.log_artifact("pr_curve.png")
            mlflow.sklearn.log_model(model, name="model", skops_trusted_types=TRUSTED)
            print(json.dumps(f1))


if __name__ == "__main__":
    main()
