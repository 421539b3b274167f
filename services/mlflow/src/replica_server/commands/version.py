"""Prints the version of the stack's files, and MLflow's."""

from importlib.metadata import version

from replica_server.version import VERSION


def main() -> None:
    """Prints both."""
    print(f"mlflow-replica {VERSION}, MLflow {version('mlflow')}")
