"""An artifact that is not there is answered with 404, and a folder with 400 before anything of it is fetched.

MLflow answers 500 when a storage in the cloud says that it has no such object, and its client tries a request that got
500 again for minutes. It does so at every load of `runs:/<run>/<model>`, where the client looks below the run first and
then at the model's own place. Other errors of the storage keep their own class: MLflow makes a 500 of each.
"""

import posixpath
import tempfile
from pathlib import Path

from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import RESOURCE_DOES_NOT_EXIST
from mlflow.store.artifact.artifact_repo import ArtifactRepository


class SaysWhatIsMissing(ArtifactRepository):
    """A repository that tells an artifact that is not there from a folder, and from a download that failed."""

    def download_artifacts(self, artifact_path: str, dst_path: str | None = None) -> str:
        """Downloads a file into a folder (None: a new one), and returns its path."""
        file = Path(dst_path or tempfile.mkdtemp()) / posixpath.basename(artifact_path)
        try:
            self._download_file(artifact_path, str(file))  # type: ignore[no-untyped-call]
        except FileNotFoundError:
            if self.list_artifacts(artifact_path):
                raise MlflowException.invalid_parameter_value(
                    f"Artifact path refers to a directory, not a file: '{artifact_path}'"
                ) from None
            raise MlflowException(f"There is no artifact {artifact_path}", error_code=RESOURCE_DOES_NOT_EXIST) from None
        return str(file)
