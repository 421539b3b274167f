"""The server deletes no artifact, and says so at once.

Its identity may not. Stock MLflow takes MinIO's refusal for success, and repeats a request that Cloud Storage refuses
for minutes. What is deleted in MLflow (a run, a model, an experiment) is only marked; `gc` removes the files later.
"""

from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import PERMISSION_DENIED


def refusal() -> MlflowException:
    """Returns the answer to a request that would delete an artifact."""
    return MlflowException(
        "This server deletes no artifacts: delete the run, the model or the experiment in MLflow, "
        "and `docker compose run --rm gc` removes its files",
        error_code=PERMISSION_DENIED,
    )
