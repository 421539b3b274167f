"""Fits another estimator than LightGBM's: a class with scikit-learn's interface, behind an encoder that suits most.

Numbers are filled in by their median, with a column that says where, and scaled; texts and booleans become a column for
each category. All of these are scikit-learn's own parts, so that the model loads without this package.
"""

from __future__ import annotations

import hashlib
import importlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from trainer.config.other_estimator import OtherEstimator
from trainer.config.task import TaskName
from trainer.data.dataset import Dataset, Table
from trainer.training.tasks import training_task
from trainer.util.errors import InputError, TrainerError
from trainer.util.text import did_you_mean, listed, one_line

if TYPE_CHECKING:
    from sklearn.compose import ColumnTransformer
    from sklearn.pipeline import Pipeline

#: Of a text with more categories than this, the rarest share one column.
MOST_CATEGORIES = 100
_METHODS = ("fit", "predict", "get_params", "set_params")


def load_class(other: OtherEstimator) -> type[Any]:
    """Return the class that is named.

    Raises:
        InputError: The module cannot be imported, or has no such class, or it lacks scikit-learn's interface.
    """
    name = other.module
    if name.endswith(".py"):
        file = Path(name).resolve()
        if not file.is_file():
            raise InputError(f"--estimator: {name}: no such file")
        # So that the module itself finds what lies beside it, and the model's own import finds the module.
        if str(file.parent) not in sys.path:
            sys.path.insert(0, str(file.parent))
        name = file.stem
    try:
        module = importlib.import_module(name)
    except Exception as error:  # noqa: BLE001 - whatever a module's own code raises
        what = one_line(error, 200) if isinstance(error, ImportError) else f"{type(error).__name__}: {one_line(error)}"
        raise InputError(f"--estimator: the module {name!r} cannot be imported: {what}") from None
    found = getattr(module, other.class_name, None)
    if not isinstance(found, type):
        classes = [one for one, value in vars(module).items() if isinstance(value, type) and not one.startswith("_")]
        hint = did_you_mean(other.class_name, classes, f"it has {listed(classes) or 'none'}")
        raise InputError(f"--estimator: the module {name!r} has no class {other.class_name!r}; {hint}")
    if lacking := [method for method in _METHODS if not callable(getattr(found, method, None))]:
        raise InputError(
            f"--estimator: {other.class_name} has no {' and no '.join(lacking)}; it needs scikit-learn's interface"
            " (sklearn.base.BaseEstimator has all but fit and predict)"
        )
    return found


def make_estimator(other: OtherEstimator, seed: int, task: TaskName | None) -> Any:
    """Return the unfitted estimator, with the seed where it takes one, and one thread.

    Args:
        other: The class and its parameters.
        seed: Its ``random_state``.
        task: What is predicted; None where that is not known yet.

    Raises:
        InputError: The class does not take the parameters, or has no probabilities where classes are predicted.
    """
    kind = load_class(other)
    try:
        made = kind(**other.params)
        known = made.get_params(deep=False)
        defaults = {"random_state": seed, "n_jobs": 1}
        made.set_params(**{name: value for name, value in defaults.items() if name in known and known[name] is None})
        # scikit-learn's own estimators look at their values in fit, long after. Others name no constraints to look at.
        if hasattr(made, "_parameter_constraints"):
            made._validate_params()
    except (TypeError, ValueError, AttributeError) as error:
        raise InputError(f"--estimator-params: {other.class_name} refuses: {one_line(error, 300)}") from None
    except Exception as error:  # noqa: BLE001 - whatever another's code raises
        raise InputError(f"--estimator: {other.class_name}: {type(error).__name__}: {one_line(error, 300)}") from None
    if task not in (None, "regression") and not hasattr(made, "predict_proba"):
        raise InputError(
            f"--estimator: {other.class_name} has no predict_proba, which a {task} target needs"
            " (sklearn.calibration:CalibratedClassifierCV gives one to most)"
        )
    return made


def plain_encoder(dataset: Dataset) -> ColumnTransformer:
    """Return the unfitted transformer of all columns into numbers without a gap."""
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    texts, booleans, numbers, unknown = (
        [name for name, kind in dataset.column_types.items() if kind == wanted]
        for wanted in ("text", "boolean", "number", "unknown")
    )
    truth = np.array([False, True], dtype=object)
    filled = SimpleImputer(strategy="median", add_indicator=True, keep_empty_features=True)
    dense: dict[str, Any] = {"sparse_output": False}
    parts: list[tuple[str, Any, list[str]]] = [
        ("text", OneHotEncoder(handle_unknown="infrequent_if_exist", max_categories=MOST_CATEGORIES, **dense), texts),
        ("boolean", OneHotEncoder(categories=[truth] * len(booleans), handle_unknown="ignore", **dense), booleans),
        ("number", Pipeline([("fill", filled), ("scale", StandardScaler())]), numbers),
        ("unknown", "drop", unknown),
    ]
    return ColumnTransformer([part for part in parts if part[2]])


def fit_other(other: OtherEstimator, dataset: Dataset, fitting: Table, seed: int) -> Pipeline:
    """Return the encoder and the estimator, fitted.

    Raises:
        InputError: The estimator cannot be used.
        TrainerError: It refuses the data.
    """
    from sklearn.pipeline import Pipeline
    from sklearn.utils.validation import has_fit_parameter

    estimator = make_estimator(other, seed, dataset.task)
    weights: dict[str, Any] = {}
    if fitting.weight is not None:
        if not has_fit_parameter(estimator, "sample_weight"):
            raise InputError(f"--weight: {other.class_name} takes no weights (its fit has no sample_weight)")
        weights = {"classify__sample_weight": fitting.weight}
    task = training_task(dataset.task, dataset.classes)
    pipeline = Pipeline([("encode", plain_encoder(dataset)), ("classify", estimator)])
    try:
        pipeline.fit(fitting.features, task.labels(fitting.target), **weights)
    except Exception as error:  # whatever another's code raises
        raise TrainerError(f"{other.class_name} refuses: {type(error).__name__}: {one_line(error, 300)}") from error
    return pipeline


def code_files(estimator: Any) -> list[str]:
    """Return the files of the module that an estimator's class is of: one of the user's own, and no installed one."""
    module = sys.modules.get(type(estimator).__module__.partition(".")[0])
    origin = getattr(module, "__file__", None)
    if origin is None or any(part in ("site-packages", "dist-packages") for part in Path(origin).parts):
        return []
    file = Path(origin)
    return [str(file.parent if file.name == "__init__.py" else file)]


def code_digest(other: OtherEstimator) -> str:
    """Return a digest of the class's own file, on which a result depends; of an installed module, of its version."""
    kind = load_class(other)
    origin = getattr(sys.modules[kind.__module__], "__file__", None)
    content = Path(origin).read_bytes() if origin else b""
    return hashlib.sha256(content).hexdigest()[:32]
