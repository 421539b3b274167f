"""Where the trainer reaches into a library to save time, what comes out is what the library itself makes."""

from __future__ import annotations

import io
import json
import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from skops.io._utils import SaveContext, _get_state
from trainer import data, fit, model, params, plots
from trainer.plots import style


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


def test_texts_are_drawn_as_matplotlib_draws_them() -> None:
    target = np.array([0, 1, 0, 1, 1] * 20)
    figure = plots.calibration(target, np.linspace(0, 1, 100), plots.Heading("größer ≥ 5, $x$", "100 rows"))
    style.note(figure.axes[0], "two\nlines", (0.5, 0.5), {"xytext": (0.8, 0.3)})
    pictures = []
    for canvas in (figure.canvas, FigureCanvasAgg(figure)):
        canvas.draw()
        surface: Any = canvas
        pictures.append(np.array(surface.buffer_rgba(), dtype=np.int16)[..., :3])
    # A quarter of a pixel is a shade; a letter that is missing, another one, or elsewhere is black on white.
    assert np.abs(pictures[0] - pictures[1]).max() < 100
