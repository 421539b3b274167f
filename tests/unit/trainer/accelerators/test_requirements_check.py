"""A model is saved without a check of its requirements against what they were read from."""

from __future__ import annotations

from pathlib import Path

import pytest
from trainer.config.variant import complete_params
from trainer.data.dataset import Dataset
from trainer.training.fit import FitResult, fit_variant
from trainer.training.model import save_model


@pytest.fixture(scope="module")
def fitted(dataset: Dataset) -> FitResult:
    return fit_variant(complete_params({"n_estimators": 3}), dataset, seed=1, validation_size=0.2)


def test_requirements_are_not_checked_again(
    fitted: FitResult, dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Requirements are not checked against what they were read from."""
    checked: list[str] = []
    monkeypatch.setattr("mlflow.utils.requirements_utils._check_requirement_satisfied", checked.append)
    save_model(fitted.model, dataset, tmp_path / "m", run_id="0" * 32, model_id="m-0", location=str(tmp_path))
    assert not checked
