"""Adds to the repositories that MLflow has for a storage: what each adds is a class of its own, over MLflow's."""

from mlflow.store.artifact.artifact_repository_registry import _artifact_repository_registry


def extend(scheme: str, *additions: type) -> None:
    """Makes MLflow use a repository with these additions for every address of a scheme; the first is the outermost."""
    known = _artifact_repository_registry._registry[scheme]
    repository = type(f"Extended{known.__name__}", (*additions, known), {})
    _artifact_repository_registry.register(scheme, repository)  # type: ignore[no-untyped-call]
