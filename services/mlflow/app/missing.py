"""An artifact that is not there is answered with 404.

MLflow answers 500 when a storage in the cloud says that it has no such object, and its client tries a request that got
500 again for minutes. It does so at every load of `runs:/<run>/<model>`, where the client looks below the run first and
then at the model's own place.
"""

import posixpath

from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import RESOURCE_DOES_NOT_EXIST
from mlflow.store.artifact.artifact_repo import ArtifactRepository
from mlflow.store.artifact.artifact_repository_registry import _artifact_repository_registry


def exists(repository: ArtifactRepository, path: str) -> bool:
    """Tells whether a repository holds a file or a folder of this name."""
    if repository.list_artifacts(path):
        return True
    return any(entry.path == path for entry in repository.list_artifacts(posixpath.dirname(path) or None))


class SaysWhatIsMissing(ArtifactRepository):
    """A repository that tells an artifact that is not there from a download that failed."""

    def download_artifacts(self, artifact_path: str, dst_path: str | None = None) -> str:
        """Downloads a file or a folder."""
        try:
            return str(super().download_artifacts(artifact_path, dst_path))  # type: ignore[no-untyped-call]
        except MlflowException as error:
            if not artifact_path or exists(self, artifact_path):
                raise
            raise MlflowException(
                f"There is no artifact {artifact_path}", error_code=RESOURCE_DOES_NOT_EXIST
            ) from error


def register(scheme: str) -> None:
    """Makes MLflow use it for every address of this scheme, over the repository that it has for it."""
    known = _artifact_repository_registry._registry[scheme]
    repository = type(f"{known.__name__}WithAnswers", (SaysWhatIsMissing, known), {})
    _artifact_repository_registry.register(scheme, repository)  # type: ignore[no-untyped-call]
