"""Tells whether a model's format can run code of its own, by its files, before anything of it is loaded.

Whoever can log a model and move an alias chooses what a server loads. Two formats hold data and no code: skops, if only
known types are restored from it, and LightGBM's text. Everything else that MLflow can load counts as code: pickled
objects, Python files beside the model, loaders of other libraries. What is not known to be harmless is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trainer.training.model_metadata import PLAIN_TYPES, TRUSTED_TYPES
from trainer.util.errors import TrainerError
from trainer.util.text import one_line

#: What skops may restore beside scikit-learn's own types.
_TRUSTED = frozenset((*TRUSTED_TYPES, *PLAIN_TYPES))
#: The modules that load a model, and the flavor whose settings each of them reads.
_FLAVORS = {"mlflow.sklearn": "sklearn", "mlflow.lightgbm": "lightgbm"}
#: The settings of MLflow's general flavor with which such a model is saved. `code` has to be empty.
_SETTINGS = {"loader_module", "data", "model_path", "predict_fn", "python_version", "env", "code"}
_PREDICTIONS = {"predict", "predict_proba", "predict_log_proba", "predict_joint_log_proba", "score"}
_BOOSTER = "lightgbm.basic.Booster"


def code_in(folder: Path) -> str | None:
    """Return what of a model may run code when it is loaded or used, in words that name it; None where nothing does.

    Args:
        folder: A folder in MLflow's model format.

    Raises:
        TrainerError: A file of the model cannot be read.
    """
    import yaml

    try:
        content = yaml.safe_load((folder / "MLmodel").read_text(encoding="utf-8"))
        return _code_in(folder, content["flavors"])
    except Exception as error:  # whatever the readers of two formats raise at files that are none
        raise TrainerError(f"its files are no model: {type(error).__name__}: {one_line(error, 200)}") from error


def _code_in(folder: Path, flavors: Mapping[str, Any]) -> str | None:
    code, skops_file = _read_description(folder, flavors)
    if code is not None or skops_file is None:
        return code
    return _foreign_type(skops_file, flavors[_FLAVORS[_loader(flavors)]].get("skops_trusted_types") or [])


def code_in_description(folder: Path, flavors: Mapping[str, Any]) -> str | None:
    """Return what in a model's description says that it may run code; its skops file is not looked into."""
    return _read_description(folder, flavors)[0]


def _loader(flavors: Mapping[str, Any]) -> str:
    return str(flavors["python_function"]["loader_module"])


def _read_description(folder: Path, flavors: Mapping[str, Any]) -> tuple[str | None, Path | None]:
    """Return what runs code, if something does; and the skops file that is left to be looked into, if there is one."""
    general = flavors["python_function"]
    loader = _loader(flavors)
    if loader not in _FLAVORS:
        return f"it is loaded by {loader}", None
    own = flavors[_FLAVORS[loader]]
    if general.get("code") or own.get("code"):
        return "it comes with Python files of its own (code_paths)", None
    if unknown := sorted(set(general) - _SETTINGS):
        return f"its flavor python_function has the setting {unknown[0]}", None
    if general.get("predict_fn", "predict") not in _PREDICTIONS:
        return f"it predicts by {general['predict_fn']}", None
    # The file that is loaded lies beside the MLmodel that was read here: the loaders read the one of the file's folder.
    if loader == "mlflow.sklearn":
        if "data" in general:
            return "its flavor python_function has the setting data", None
        file = general["model_path"]
    else:
        file = own["data"]
        if general["data"] != file:
            return "its two flavors name different files", None
    if Path(file).name != file or not (folder / file).is_file():
        return f"its file is {file}", None
    if loader == "mlflow.lightgbm" and own.get("model_class", _BOOSTER) == _BOOSTER:
        return None, None
    # Without this setting, MLflow takes pickle.
    serialization = own.get("serialization_format", "pickle")
    if serialization != "skops":
        return f"it is saved as {serialization}", None
    return None, folder / file


def _foreign_type(file: Path, trusted: list[str]) -> str | None:
    """Return which type beyond the known ones a skops file holds, or its MLmodel tells the loader to restore."""
    from skops.io import get_untrusted_types

    named = sorted({*trusted, *get_untrusted_types(file=file)} - _TRUSTED)
    foreign = [name for name in named if not _is_scikit_learns(name)]
    return f"it holds objects of the type {foreign[0]}" if foreign else None


def _is_scikit_learns(name: str) -> bool:
    """Tell whether a type is one of scikit-learn's own estimators, all of which skops restores by itself.

    It lists them when it is imported; see ``accelerators.known_estimators``.
    """
    import importlib

    from sklearn.base import BaseEstimator

    module, _, kind = name.rpartition(".")
    if module.partition(".")[0] != "sklearn":
        return False
    try:
        found = getattr(importlib.import_module(module), kind, None)
    except ImportError:
        return False
    return isinstance(found, type) and issubclass(found, BaseEstimator) and found.__module__ == module
