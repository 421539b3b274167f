"""The pipeline: generates invoices, trains a model, tracks the run, registers the model and moves the alias to it."""

from __future__ import annotations

from importlib.metadata import version

import mlflow
import numpy as np
from mlflow import MlflowClient
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

EXPERIMENT = "late_payments"
MODEL = "late_payments"
ALIAS = "champion"


def generate_invoices(rows: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns invoices (amount, days to pay, earlier reminders), and which of them were paid late."""
    numbers = np.random.default_rng(seed)
    invoices = numbers.normal(size=(rows, 3))
    late = invoices @ [0.8, -0.5, 1.5] + numbers.normal(size=rows) > 0
    return invoices, late.astype(int)


def run_pipeline(rows: int = 1_000, strength: float = 1.0, seed: int = 0) -> str:
    """Trains and tracks a model at the tracking server that MLflow is set to.

    Args:
        rows: How many invoices there are; a quarter of them is for the metric.
        strength: LogisticRegression's `C`.
        seed: The seed of the generated invoices.

    Returns:
        The run's identifier.
    """
    invoices, late = generate_invoices(rows, seed)
    train = rows - rows // 4
    mlflow.set_experiment(EXPERIMENT)
    with mlflow.start_run() as run:
        mlflow.log_params({"rows": rows, "strength": strength, "seed": seed})
        model = LogisticRegression(C=strength).fit(invoices[:train], late[:train])
        scores = model.predict_proba(invoices[train:])[:, 1]
        mlflow.log_metric("roc_auc", float(roc_auc_score(late[train:], scores)))
        logged = mlflow.sklearn.log_model(
            model,
            name="model",
            registered_model_name=MODEL,
            # Named, they need not be found out, which takes seconds.
            pip_requirements=[f"{name}=={version(name)}" for name in ("mlflow", "scikit-learn")],
        )
    MlflowClient().set_registered_model_alias(MODEL, ALIAS, logged.registered_model_version)
    return str(run.info.run_id)
