"""A pytest plugin whose fixture `mlflow_stack` is an MLflow server with its PostgreSQL and its bucket, in Docker."""

from .access import Bucket, Database, MlflowStack

__all__ = ["Bucket", "Database", "MlflowStack"]
