"""The pipeline: a stratified split, and the share of purchases as a metric."""

from __future__ import annotations

import pandas as pd
from kedro.pipeline import Pipeline, node
from sklearn.model_selection import train_test_split


def split(
    sessions: pd.DataFrame, target: str, test_size: float, seed: int
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Returns X_train, X_test, y_train and y_test; purchases have the same share in both parts.

    Raises:
        ValueError: There is no column of the target's name.
    """
    if target not in sessions.columns:
        raise ValueError(
            f"the sessions have no column {target!r}; set target in conf/base/parameters.yml to one of: "
            f"{', '.join(map(str, sessions.columns))}"
        )
    train, test = train_test_split(sessions, test_size=test_size, stratify=sessions[target], random_state=seed)
    return train.drop(columns=target), test.drop(columns=target), train[[target]], test[[target]]


def purchase_share(y_train: pd.DataFrame) -> float:
    """Returns the share of the training sessions that end in a purchase, from 0 to 1."""
    return float(y_train.iloc[:, 0].mean())


def create_pipeline() -> Pipeline:
    """Returns the pipeline."""
    return Pipeline(
        [
            node(
                split,
                inputs=["sessions", "params:target", "params:test_size", "params:seed"],
                outputs=["X_train", "X_test", "y_train", "y_test"],
            ),
            node(purchase_share, inputs="y_train", outputs="purchase_share"),
        ]
    )
