"""skops asks a model for its trees once, and stores the same."""

from __future__ import annotations

import io
import zipfile
from typing import Any

import pytest
import skops.io
from lightgbm import Booster
from skops.io import _utils
from trainer.accelerators import booster_state
from trainer.config.variant import complete_params
from trainer.data.dataset import Dataset
from trainer.training.fit import fit_variant


def stored(model: object) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(skops.io.dumps(model))) as file:
        return {name: file.read(name) for name in file.namelist()}


def test_trees_are_written_once_and_the_same(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    fitted = fit_variant(complete_params({"n_estimators": 3}), dataset, seed=1, validation_size=0.2)
    booster = fitted.model.estimator_.estimator[-1].booster_
    asked: list[int] = []
    write = Booster.model_to_string

    def counted(self: Booster, *args: Any, **kwargs: Any) -> str:
        asked.append(id(self))
        return str(write(self, *args, **kwargs))

    monkeypatch.setattr(Booster, "model_to_string", counted)
    # As skops does it by itself, whatever an earlier model in this process has set.
    vars(_utils)["_get_state"].register(Booster)(vars(_utils)["_get_state"].dispatch(object))
    without, first = stored(booster), len(asked)
    vars(_utils)["_get_state"].register(Booster)(booster_state._state_of)
    asked.clear()
    assert stored(booster).keys() == without.keys()
    assert len(asked) == 1 < first
    # Ids are the objects' addresses, which skops writes down too.
    assert scrubbed(stored(booster)) == scrubbed(without)


def scrubbed(files: dict[str, bytes]) -> list[bytes]:
    import re

    return [re.sub(rb'"__id__": \d+', b"", content) for content in files.values()]


def test_saving_a_model_asks_once(dataset: Dataset, tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    from pathlib import Path

    from trainer.training.model import save_model

    done: list[str] = []
    monkeypatch.setattr("trainer.training.model.ask_once", lambda: done.append("once"))
    fitted = fit_variant(complete_params({"n_estimators": 3}), dataset, seed=1, validation_size=0.2)
    folder = Path(str(tmp_path)) / "model"
    save_model(fitted.model, dataset, folder, run_id="0" * 32, model_id="m-0", location=str(folder))
    assert done == ["once"]
