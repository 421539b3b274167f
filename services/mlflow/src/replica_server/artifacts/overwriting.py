"""What becomes of an upload under a name that holds other content: the setting ARTIFACT_OVERWRITE.

It is one for both storages.

allow: the new content replaces the old one, and the versioned bucket keeps the old one for a while.
refuse: the first content stays. A second upload is refused with 400, at which MLflow's client does not try again. The
same bytes are accepted: the first upload may have arrived, and only its answer been lost.
"""

from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import RESOURCE_ALREADY_EXISTS

from replica_server.settings import OVERWRITE


def refusal(address: str) -> MlflowException:
    """Returns the answer to an upload under a name that holds other content.

    Args:
        address: The object's, with scheme and bucket.
    """
    return MlflowException(
        f"The artifact {address} exists with other content, and cannot be overwritten: {OVERWRITE} is refuse on the "
        "server. Log it under another name",
        error_code=RESOURCE_ALREADY_EXISTS,
    )
