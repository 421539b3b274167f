"""Loads a model in MLflow's format, and scores chunks with it.

The trainer's own models are scored without scikit-learn's and pandas' share of the work: Arrow looks up the category
codes, and the numbers go straight to LightGBM. Whether that gives the same metrics is not taken on trust: the first
rows are scored both ways, and a model for which they differ in a single bit is scored the long way.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from trainer.config.csv_form import CsvForm
from trainer.config.task import Label
from trainer.data.arrow_columns import Feature, Type
from trainer.data.column_names import meant_column
from trainer.data.csv_faults import header_hint
from trainer.scoring.scorers import (
    CHECKED_ROWS,
    BoosterScorer,
    ClassifierScorer,
    Columns,
    NotTakenApartError,
    PredictionScorer,
    Scorer,
    TreeScorer,
)
from trainer.training.model_metadata import noted_form, noted_task, own_column_types
from trainer.util.errors import InputError, TrainerError
from trainer.util.output import print_message
from trainer.util.text import listed, one_line

_SIGNATURE: Mapping[str, Type] = {
    "boolean": "boolean",
    "integer": "integer",
    "long": "long",
    "float": "float",
    "double": "number",
    "string": "text",
    "datetime": "datetime",
}


@dataclass(frozen=True)
class LoadedModel:
    """A loaded model.

    ``features`` are the columns that it takes; None where the model does not know their types, and ``names`` None where
    it does not know their names either. ``own`` says that the trainer made it; ``labels`` are then the two values that
    its target column had for 0 and 1, or none.
    """

    model: Any
    flavor: str
    features: tuple[Feature, ...] | None
    names: tuple[str, ...] | None
    own: bool
    #: How the CSV files of its training were written.
    form: CsvForm = field(default_factory=CsvForm)
    labels: tuple[Label, ...] = ()
    #: What its MLmodel file says of it beyond MLflow's own keys.
    metadata: Mapping[str, Any] | None = None

    def scorer(self, features: Sequence[Feature], columns: Columns, rows: int, threads: int) -> Scorer:
        """Return the fastest scorer that gives the model's own metrics on the first rows of a chunk."""
        general = _general(self, features, threads)
        if self.own and isinstance(general, ClassifierScorer | PredictionScorer):
            head = {name: column.slice(0, CHECKED_ROWS) for name, column in columns.items()}
            try:
                trees = TreeScorer.of(self.model, features)
                if not _agree(trees, general, head, min(rows, CHECKED_ROWS)):
                    raise NotTakenApartError("taken apart, it scores the first rows otherwise")
            except NotTakenApartError as why:
                print_message(f"the model is scored by scikit-learn, which is slower: {why}")
                return general
            # The first rows are scored once more, with the others.
            trees.texts.clear()
            return trees
        return general


def load_model(folder: Path, name: str) -> LoadedModel:
    """Load the model in a folder.

    Args:
        folder: A folder in MLflow's model format.
        name: How messages name the model.

    Raises:
        InputError: The folder holds no model, or one that takes no tables.
        TrainerError: The model cannot be loaded here.
    """
    from mlflow.models import Model

    if not (folder / "MLmodel").is_file():
        raise InputError(f"{name}: holds no model (there is no MLmodel file in it) (--model)")
    try:
        described = Model.load(str(folder))
        flavor = next((known for known in ("sklearn", "lightgbm") if known in described.flavors), "pyfunc")
        features = _features(described, name)
        model = _load(flavor, folder)
    except TrainerError:
        raise
    except ModuleNotFoundError as error:
        raise TrainerError(f"{name}: needs the package {error.name!r}, which is not installed here") from error
    except Exception as error:  # whatever a foreign model's own code raises
        raise TrainerError(f"{name}: cannot be loaded: {one_line(error, 300)}") from error
    names = tuple(feature.name for feature in features) if features is not None else _names(model)
    task, classes = noted_task(described.metadata)
    labels = classes if task == "binary" else ()
    own, form = own_column_types(described) is not None, noted_form(described.metadata)
    return LoadedModel(model, flavor, features, names, own, form, labels, described.metadata)


def _load(flavor: str, folder: Path) -> Any:
    if flavor == "sklearn":
        import mlflow.sklearn

        return mlflow.sklearn.load_model(str(folder))
    if flavor == "lightgbm":
        import mlflow.lightgbm

        return mlflow.lightgbm.load_model(str(folder))
    import mlflow.pyfunc

    return mlflow.pyfunc.load_model(str(folder))


def _features(described: Any, name: str) -> tuple[Feature, ...] | None:
    if (column_types := own_column_types(described)) is not None:
        return tuple(Feature(str(column), kind) for column, kind in column_types.items())
    inputs = described.get_input_schema()
    if inputs is None or not inputs.inputs:
        return None
    if inputs.is_tensor_spec() or not inputs.has_input_names():
        raise InputError(f"{name}: takes arrays, not tables with named columns; it cannot score a file (--model)")
    features = []
    for column in inputs.inputs:
        # "any" and the like: the file itself decides, as if there were no signature.
        known = _SIGNATURE.get(getattr(column.type, "name", ""))
        if known is None and type(column.type).__name__ == "AnyType":
            return None
        if known is None:
            raise InputError(f"{name}: takes {column.type} in column {column.name!r}, which no table file holds")
        features.append(Feature(column.name, known, bool(column.required)))
    return tuple(features)


def _names(model: Any) -> tuple[str, ...] | None:
    """Return the names of the columns that a model without a signature was trained on, if it knows them."""
    names = getattr(model, "feature_names_in_", None)
    if names is None and callable(getattr(model, "feature_name", None)):
        names = model.feature_name()
    # LightGBM's names for columns that had none.
    if names is None or all(str(name) == f"Column_{index}" for index, name in enumerate(names)):
        return None
    return tuple(str(name) for name in names)


def _general(loaded: LoadedModel, features: Sequence[Feature], threads: int) -> Scorer:
    model = loaded.model
    if loaded.flavor != "pyfunc" and hasattr(model, "predict_proba") and getattr(model, "classes_", None) is not None:
        return ClassifierScorer(model, features)
    if loaded.flavor == "lightgbm" and hasattr(model, "predict") and hasattr(model, "params"):
        objective = str(model.dump_model(num_iteration=1).get("objective", ""))
        if objective.startswith(("binary", "cross_entropy")):
            return BoosterScorer(model, features, threads)
    return PredictionScorer(model, features)


def _agree(one: Scorer, other: Scorer, columns: Columns, rows: int) -> bool:
    try:
        pairs = zip(one.score(columns, rows), other.score(columns, rows), strict=True)
        return all(first.equals(second) for first, second in pairs)
    except (TypeError, ValueError, AttributeError, pa.ArrowException):
        return False


def missing_columns(features: Sequence[Feature], names: Sequence[str], source: str, form: CsvForm) -> None:
    """Refuse a table that lacks columns which the model takes."""
    missing = [feature.name for feature in features if feature.required and feature.name not in names]
    if not missing:
        return
    unused = [name for name in names if name not in {feature.name for feature in features}]
    plural = "s" if len(missing) > 1 else ""
    hint = meant_column(missing[0], unused) + header_hint(names, form)
    raise InputError(f"{source}: lacks {len(missing)} column{plural} that the model takes: {listed(missing)}{hint}")
