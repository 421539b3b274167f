"""A small model that the tests of serving share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow import MlflowClient
from trainer.config.variant import make_variant
from trainer.data.dataset import Dataset
from trainer.serving.exposition import Exposition
from trainer.serving.workers import listen
from trainer.training.fit import fit_variant
from trainer.training.model import save_model


@pytest.fixture(scope="session")
def saved(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a small model's folder."""
    fitted = fit_variant(make_variant({"n_estimators": 5}).params, dataset, seed=1, validation_size=0.2)
    folder = tmp_path_factory.mktemp("saved") / "model"
    save_model(fitted.model, dataset, folder, run_id="0" * 32, model_id="m-" + "0" * 32, location=str(folder))
    return folder


@pytest.fixture(scope="session")
def logged(server: str, saved: Path) -> tuple[str, str]:
    """Return the small model's place among the artifacts of a server, and the run that has it."""
    client = MlflowClient(server, server)
    run = client.create_run("0")
    client.log_artifacts(run.info.run_id, str(saved), "model")
    return f"{run.info.artifact_uri}/model", run.info.run_id


@pytest.fixture
def exposition() -> Iterator[Exposition]:
    """Return what counts the figures of serving processes."""
    with Exposition(listen("127.0.0.1", 0)) as exposition:
        yield exposition
