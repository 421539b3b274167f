"""The repository for mlflow-artifacts: addresses in the server itself: the place in the storage to which they lead.

The server looks at such an address when a run's or a model's own address is one (`runs:/…`, `models:/…`). MLflow's
repository for it is a client's: the server would ask a server for it.
"""

import os
from typing import Any

from replica_server.artifacts import addresses


def proxied_repository(artifact_uri: str, **others: Any) -> Any:
    """Returns the storage's repository for an address; MLflow calls this by the package's entry point.

    Args:
        artifact_uri: The address.
        others: What MLflow passes on beside it.
    """
    from mlflow.server.constants import ARTIFACTS_DESTINATION_ENV_VAR
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    return get_artifact_repository(
        addresses.translated(artifact_uri, os.environ[ARTIFACTS_DESTINATION_ENV_VAR]), **others
    )
