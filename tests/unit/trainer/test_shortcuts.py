"""Where a model's saving takes a short cut through a library, the model is what the library itself would have made."""

from __future__ import annotations

import io
import json
import re
import zipfile
from pathlib import Path

import pytest
from skops.io._utils import SaveContext, _get_state
from trainer import data, fit, model, params


@pytest.fixture(scope="module")
def fitted(dataset: data.Dataset) -> fit.Fitted:
    return fit.fit(params.complete({"n_estimators": 3}), dataset, seed=1, validation_size=0.2)


def test_trees_are_written_as_skops_writes_them(fitted: fit.Fitted) -> None:
    booster = fitted.model.estimator_.estimator[-1].booster_
    model._write_trees_once()
    written = []
    for kind in (type(booster), object):
        with zipfile.ZipFile(io.BytesIO(), "w") as archive:
            state = _get_state.dispatch(kind)(booster, SaveContext(archive))
        # Numbers of the objects in memory.
        written.append(re.sub(r'"__id__": \d+', "", json.dumps(state)))
    assert written[0] == written[1]


def test_requirements_are_not_checked_against_what_they_were_read_from(
    fitted: fit.Fitted, dataset: data.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked: list[str] = []
    monkeypatch.setattr("mlflow.utils.requirements_utils._check_requirement_satisfied", checked.append)
    model.save(fitted.model, dataset, tmp_path / "m", run_id="0" * 32, model_id="m-0", location=str(tmp_path))
    assert not checked
