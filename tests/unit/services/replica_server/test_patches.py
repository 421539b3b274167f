"""services/mlflow: what replaces MLflow's code does so by a name that MLflow has, or the start ends with one line."""

from __future__ import annotations

import importlib
import pkgutil
import tomllib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from mlflow.exceptions import MlflowException
from replica_server import patches
from replica_server.artifacts.repository import StorageRepository
from replica_server.patches.replace import replace

ROOT = Path(__file__).parents[4]
MODULES = sorted(module.name for module in pkgutil.iter_modules(patches.__path__) if module.name != "replace")


def test_name_is_replaced_and_the_former_handed_over() -> None:
    place = SimpleNamespace(answer=lambda: "theirs")
    replace(place, "answer", lambda answer: lambda: f"ours and {answer()}")
    assert place.answer() == "ours and theirs"
    views: dict[str, Any] = {"answer": "theirs"}
    replace(views, "answer", lambda answer: f"ours and {answer}")
    assert views == {"answer": "ours and theirs"}


@pytest.mark.parametrize("place", [importlib.import_module("mlflow.server.handlers"), MlflowException, {"other": 1}])
def test_name_that_is_gone_ends_the_start(place: Any) -> None:
    with pytest.raises(
        SystemExit, match=r"^error: MLflow [\d.]+ has no _gone in \S+, which this server replaces [^\n]*$"
    ):
        replace(place, "_gone", lambda _: pytest.fail("it was replaced"))
    assert "_gone" not in vars(place) if not isinstance(place, dict) else place == {"other": 1}


@pytest.mark.parametrize("name", MODULES)
def test_each_patch_says_what_it_is(name: str) -> None:
    """What it replaces, what it gains, its test, and when it can go; and the page with the figures has it."""
    said = importlib.import_module(f"replica_server.patches.{name}").__doc__ or ""
    for part in ("Replaces: ", "Gain: ", "Upstream: ", "Test: ", "Goes when: "):
        assert part in said
    assert f"`{name}.py`" in (ROOT / "docs/contributors/replacements.md").read_text()


def test_entry_points_are_these_repositories() -> None:
    project = tomllib.loads((ROOT / "services/mlflow/pyproject.toml").read_text())["project"]
    found = {}
    for scheme, place in project["entry-points"]["mlflow.artifact_repository"].items():
        module, name = place.split(":")
        found[scheme] = getattr(importlib.import_module(module), name)
    assert set(found) == {"s3", "gs", "mlflow-artifacts"}
    for scheme in ("s3", "gs"):
        assert issubclass(found[scheme], StorageRepository)


def test_proxied_address_leads_to_the_storage(monkeypatch: pytest.MonkeyPatch) -> None:
    from mlflow.server.constants import ARTIFACTS_DESTINATION_ENV_VAR
    from mlflow.store.artifact.artifact_repository_registry import get_registered_artifact_repositories
    from replica_server.artifacts.proxied import proxied_repository
    from replica_server.artifacts.s3 import S3Repository

    monkeypatch.setitem(get_registered_artifact_repositories(), "s3", S3Repository)
    monkeypatch.setenv(ARTIFACTS_DESTINATION_ENV_VAR, "s3://bucket/team/")
    found = proxied_repository("mlflow-artifacts:/5/run/artifacts", tracking_uri=None, registry_uri=None)
    assert isinstance(found, S3Repository)
    assert found.artifact_uri == "s3://bucket/team/5/run/artifacts"
