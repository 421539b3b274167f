"""Serving loads nothing of a model whose format can run code."""

from __future__ import annotations

import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightgbm
import mlflow
import numpy as np
import pandas as pd
import pytest
import yaml
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from trainer.config.variant import make_variant
from trainer.data.dataset import Dataset
from trainer.serving.champion import ANY, ModelError, load
from trainer.training.fit import fit_variant
from trainer.training.model import save_model
from trainer.training.model_format import code_in
from trainer.util.errors import TrainerError

TABLE = pd.DataFrame({"a": np.arange(40.0), "b": np.arange(40.0) % 7})
TARGET = (TABLE["a"] > 20).astype(int)
FOREST = lightgbm.LGBMClassifier(n_estimators=2, verbose=-1, n_jobs=1)
LINE = LogisticRegression()


class Bomb:
    """Touches a file when it is unpickled."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[Any, ...]:
        """Return what pickle calls."""
        return Path.touch, (self.file,)


def doubled(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table's double."""
    return table * 2


def save(flavor: Any, folder: Path, fitted: Any = None, **options: Any) -> Path:
    """Save a model by one of MLflow's flavors; return the folder."""
    first = () if fitted is None else (fitted,)
    flavor.save_model(*first, path=str(folder), pip_requirements=["mlflow"], **options)
    return folder


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a scikit-learn model in skops format."""
    return save(mlflow.sklearn, tmp_path_factory.mktemp("line") / "model", LINE.fit(TABLE, TARGET))


@pytest.fixture(scope="module")
def booster(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a LightGBM model as text."""
    fitted = FOREST.fit(TABLE, TARGET).booster_
    return save(mlflow.lightgbm, tmp_path_factory.mktemp("booster") / "model", fitted)


@pytest.fixture
def changed(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that copies a model, with settings of one flavor changed; None removes one."""

    def copy(folder: Path, flavor: str, **settings: Any) -> Path:
        copied = Path(shutil.copytree(folder, tmp_path / "changed"))
        content = yaml.safe_load((copied / "MLmodel").read_text())
        content["flavors"].setdefault(flavor, {}).update(settings)
        content["flavors"][flavor] = {
            name: value for name, value in content["flavors"][flavor].items() if value is not None
        }
        (copied / "MLmodel").write_text(yaml.safe_dump(content))
        return copied

    return copy


@pytest.mark.slow
def test_own_models_and_data_formats_are_taken(dataset: Dataset, line: Path, booster: Path, tmp_path: Path) -> None:
    fitted = fit_variant(make_variant({"n_estimators": 2}).params, dataset, seed=1, validation_size=0.2)
    save_model(fitted.model, dataset, tmp_path / "own", run_id="0" * 32, model_id="m-0", location=str(tmp_path))
    pipeline = make_pipeline(StandardScaler(), LINE).fit(TABLE, TARGET)
    save(mlflow.sklearn, tmp_path / "pipeline", pipeline, pyfunc_predict_fn="predict_proba")
    save(mlflow.lightgbm, tmp_path / "forest", FOREST.fit(TABLE, TARGET), serialization_format="skops")
    for folder in (line, booster, *(tmp_path / name for name in ("own", "pipeline", "forest"))):
        assert code_in(folder) is None, folder
        assert load(str(folder)).uri == str(folder)


@pytest.mark.slow
@pytest.mark.parametrize("serialization", ["pickle", "cloudpickle"])
@pytest.mark.parametrize("flavor", [mlflow.sklearn, mlflow.lightgbm], ids=["sklearn", "lightgbm"])
def test_pickled_model_is_not_unpickled(flavor: Any, serialization: str, tmp_path: Path) -> None:
    folder = save(flavor, tmp_path / "model", FOREST.fit(TABLE, TARGET), serialization_format=serialization)
    assert load(str(folder), formats=ANY)
    (file,) = folder.glob("*.pkl")
    file.write_bytes(pickle.dumps(Bomb(tmp_path / "ran")))
    with pytest.raises(ModelError) as refused:
        load(str(folder))
    assert str(refused.value) == (
        f"{folder} is refused, because its format can run code: it is saved as {serialization}; served are models in"
        " skops format and LightGBM's text format (SERVING_FORMATS=any, or --formats any, serves all)"
    )
    assert not (tmp_path / "ran").exists()
    # This test would notice: unpickled, it does run.
    load(str(folder), formats=ANY)
    assert (tmp_path / "ran").exists()


def test_python_model_is_refused(tmp_path: Path) -> None:
    class Zeros(mlflow.pyfunc.PythonModel):  # type: ignore[misc, name-defined]
        def predict(self, model_input: list[float]) -> list[float]:
            return [0.0] * len(model_input)

    folder = save(mlflow.pyfunc, tmp_path / "pickled", python_model=Zeros())
    assert code_in(folder) == "it is loaded by mlflow.pyfunc.model"
    script = tmp_path / "script.py"
    script.write_text(
        "import mlflow\nclass M(mlflow.pyfunc.PythonModel):\n"
        "    def predict(self, model_input: list[float]): return model_input\n"
        f"mlflow.models.set_model(M())\nopen({str(tmp_path / 'ran')!r}, 'w').close()\n"
    )
    folder = save(mlflow.pyfunc, tmp_path / "from code", python_model=str(script))
    (tmp_path / "ran").unlink()
    with pytest.raises(ModelError, match=r"it is loaded by mlflow\.pyfunc\.loaders\.code_model"):
        load(str(folder))
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("hidden", [[], ["sklearn"], ["python_function"]], ids=["as saved", "general", "own"])
def test_python_files_beside_the_model_are_refused(hidden: list[str], tmp_path: Path) -> None:
    """A module of the name of one that the loader imports would come before it."""
    code = tmp_path / "code"
    code.mkdir()
    (code / "skops.py").write_text("raise SystemExit")
    folder = save(mlflow.sklearn, tmp_path / "model", LINE.fit(TABLE, TARGET), code_paths=[str(code)])
    content = yaml.safe_load((folder / "MLmodel").read_text())
    for flavor in hidden:
        del content["flavors"][flavor]["code"]
    (folder / "MLmodel").write_text(yaml.safe_dump(content))
    assert code_in(folder) == "it comes with Python files of its own (code_paths)"


@pytest.mark.parametrize(
    ("flavor", "settings", "what"),
    [
        ("python_function", {"loader_module": "os"}, "it is loaded by os"),
        ("python_function", {"loader_module": "mlflow.pyfunc.model"}, "it is loaded by mlflow.pyfunc.model"),
        ("python_function", {"loader_module": "mlflow.sklearn.utils"}, "it is loaded by mlflow.sklearn.utils"),
        ("python_function", {"data": "sub"}, "its flavor python_function has the setting data"),
        ("python_function", {"config": {"a": 1}}, "its flavor python_function has the setting config"),
        ("python_function", {"predict_fn": "get_raw_model"}, "it predicts by get_raw_model"),
        ("python_function", {"predict_fn": "__class__"}, "it predicts by __class__"),
        ("python_function", {"model_path": "/etc/hostname"}, "its file is /etc/hostname"),
        ("python_function", {"model_path": "../model/model.skops"}, "its file is ../model/model.skops"),
        ("python_function", {"model_path": "nothing"}, "its file is nothing"),
        ("sklearn", {"serialization_format": None}, "it is saved as pickle"),
        ("sklearn", {"serialization_format": "joblib"}, "it is saved as joblib"),
        ("sklearn", {"skops_trusted_types": ["builtins.eval"]}, "it holds objects of the type builtins.eval"),
    ],
)
def test_changed_settings_are_refused(
    line: Path, changed: Callable[..., Path], flavor: str, settings: dict[str, Any], what: str
) -> None:
    assert code_in(changed(line, flavor, **settings)) == what


@pytest.mark.parametrize(
    ("flavor", "settings", "what"),
    [
        ("lightgbm", {"model_class": "lightgbm.sklearn.LGBMClassifier", "serialization_format": "pickle"}, "pickle"),
        ("lightgbm", {"model_class": "x.Y", "serialization_format": None}, "it is saved as pickle"),
        ("lightgbm", {"data": "other"}, "its two flavors name different files"),
        ("python_function", {"data": "sub"}, "its two flavors name different files"),
        ("python_function", {"code": "code"}, "it comes with Python files of its own"),
    ],
)
def test_changed_settings_of_lightgbm_are_refused(
    booster: Path, changed: Callable[..., Path], flavor: str, settings: dict[str, Any], what: str
) -> None:
    assert what in str(code_in(changed(booster, flavor, **settings)))


def test_second_mlmodel_below_is_not_believed(line: Path, changed: Callable[..., Path], tmp_path: Path) -> None:
    """The loaders read the settings of the flavor from the folder of the file that they load."""
    folder = changed(line, "python_function", model_path="sub/model.pkl")
    below = Path(shutil.copytree(line, folder / "sub"))
    content = yaml.safe_load((below / "MLmodel").read_text())
    content["flavors"]["sklearn"]["serialization_format"] = "pickle"
    (below / "MLmodel").write_text(yaml.safe_dump(content))
    (below / "model.pkl").write_bytes(pickle.dumps(Bomb(tmp_path / "ran")))
    assert code_in(folder) == "its file is sub/model.pkl"


def test_function_in_a_skops_file_is_refused(tmp_path: Path) -> None:
    pipeline = make_pipeline(FunctionTransformer(doubled), LINE).fit(TABLE, TARGET)
    held = f"{__name__}.doubled"
    folder = save(mlflow.sklearn, tmp_path / "model", pipeline, skops_trusted_types=[held])
    assert code_in(folder) == f"it holds objects of the type {held}"
    # Nor when it is not said.
    content = yaml.safe_load((folder / "MLmodel").read_text())
    content["flavors"]["sklearn"]["skops_trusted_types"] = None
    (folder / "MLmodel").write_text(yaml.safe_dump(content))
    assert code_in(folder) == f"it holds objects of the type {held}"


@pytest.mark.parametrize("content", ["", "- a list", "flavors: {}", "flavors: {python_function: text}", "{", "\x00"])
def test_what_is_no_model_is_an_error(content: str, line: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(line, tmp_path / "model"))
    (folder / "MLmodel").write_text(content)
    with pytest.raises(TrainerError, match="its files are no model"):
        code_in(folder)
    with pytest.raises(ModelError, match="cannot be loaded"):
        load(str(folder))
