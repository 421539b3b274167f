"""Where a model's saving takes a short cut through a library, the model is what the library itself would have made."""

from __future__ import annotations

import io
import json
import re
import zipfile
from pathlib import Path

import pytest
import skops.io
from skops.io import _persist
from skops.io._utils import SaveContext, _get_state
from trainer.config.variant import complete_params
from trainer.data.dataset import Dataset
from trainer.training import model
from trainer.training.fit import FitResult, fit_variant
from trainer.training.model import save_model


@pytest.fixture(scope="module")
def fitted(dataset: Dataset) -> FitResult:
    return fit_variant(complete_params({"n_estimators": 3}), dataset, seed=1, validation_size=0.2)


def test_trees_are_written_as_skops_writes_them(fitted: FitResult) -> None:
    booster = fitted.model.estimator_.estimator[-1].booster_
    model._write_trees_once()
    written = []
    for kind in (type(booster), object):
        with zipfile.ZipFile(io.BytesIO(), "w") as archive:
            state = _get_state.dispatch(kind)(booster, SaveContext(archive))
        # Numbers of the objects in memory.
        written.append(re.sub(r'"__id__": \d+', "", json.dumps(state)))
    assert written[0] == written[1]


def test_schema_holds_what_skops_writes(fitted: FitResult, tmp_path: Path) -> None:
    encoder, written = fitted.model.estimator_.estimator[0], []
    for _ in range(2):
        with zipfile.ZipFile(io.BytesIO(_persist._save(encoder, zipfile.ZIP_STORED, None).getvalue())) as archive:
            # The numbers of objects in memory differ from one time to the next.
            written.append(json.loads(re.sub(r"\d{9,}", "0", archive.read("schema.json").decode())))
        model._write_schema_in_c()
    assert written[0] == written[1]
    skops.io.dump(encoder, tmp_path / "encoder.skops")
    assert repr(skops.io.load(tmp_path / "encoder.skops", trusted=list(model.TRUSTED_TYPES))) == repr(encoder)


def test_requirements_are_not_checked_against_what_they_were_read_from(
    fitted: FitResult, dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked: list[str] = []
    monkeypatch.setattr("mlflow.utils.requirements_utils._check_requirement_satisfied", checked.append)
    save_model(fitted.model, dataset, tmp_path / "m", run_id="0" * 32, model_id="m-0", location=str(tmp_path))
    assert not checked
