"""A model's text is written once, and is the one that LightGBM writes."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest
from lightgbm import Booster
from trainer.accelerators.model_text import write_once
from trainer.config.variant import complete_params
from trainer.data.dataset import Dataset
from trainer.training.fit import fit_variant

write_once()
STOCK = vars(Booster.model_to_string)["stock"]


@pytest.fixture(scope="module")
def booster(dataset: Dataset) -> Booster:
    fitted = fit_variant(complete_params({"n_estimators": 30}), dataset, seed=1, validation_size=0.2)
    found = fitted.model.estimator_.estimator[-1].booster_
    assert isinstance(found, Booster)
    return found


@pytest.mark.parametrize(
    "asked", [{}, {"num_iteration": 3}, {"num_iteration": -1, "start_iteration": 20}, {"importance_type": "gain"}]
)
def test_text_is_lightgbms_own(booster: Booster, asked: dict[str, Any]) -> None:
    assert booster.model_to_string(**asked) == STOCK(booster, **asked)
    assert Booster(model_str=booster.model_to_string(**asked)).num_trees() > 0


def test_text_is_written_once(booster: Booster, monkeypatch: pytest.MonkeyPatch) -> None:
    """LightGBM is asked once, by a file that is gone afterwards."""
    files: list[Path] = []
    save = Booster.save_model

    def noted(self: Booster, filename: Path, **kwargs: Any) -> Booster:
        files.append(filename)
        return save(self, filename, **kwargs)

    monkeypatch.setattr(Booster, "save_model", noted)
    assert booster.model_to_string() == STOCK(booster)
    assert len(files) == 1
    assert not files[0].parent.exists()


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), FileNotFoundError("no folder")])
def test_full_disk_is_no_fault(booster: Booster, monkeypatch: pytest.MonkeyPatch, error: OSError) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(tempfile, "TemporaryDirectory", refuse)
    assert booster.model_to_string() == STOCK(booster)
