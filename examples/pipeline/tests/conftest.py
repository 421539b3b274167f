"""MLflow's client is set to the stack that the plugin has started."""

from __future__ import annotations

from collections.abc import Iterator

import mlflow
import pytest
from mlflow import MlflowClient
from pytest_mlflow_stack import MlflowStack


@pytest.fixture(scope="session")
def client(mlflow_stack: MlflowStack) -> Iterator[MlflowClient]:
    """A client of the stack's server, which the pipeline tracks to as well."""
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(mlflow_stack.tracking_uri)
    yield MlflowClient()
    mlflow.set_tracking_uri(before)
