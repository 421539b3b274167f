"""Takes one of the trainer's own models apart: columns, category codes, trees and threshold.

What the parts are is read from the model's files, without loading the model. Whatever is not built exactly as the
trainer builds it is left to the general way.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainer.config.csv_form import CsvForm
from trainer.config.task import Label, TaskName
from trainer.config.values import ColumnType
from trainer.serving.skops_file import Node, SkopsFile
from trainer.training.hard_rows import Ranges, feature_bounds
from trainer.training.model_format import code_in_description
from trainer.training.model_metadata import noted_column_types, noted_form, noted_task
from trainer.util.errors import TrainerError
from trainer.util.text import one_line

_MODEL = "sklearn.model_selection._classification_threshold.FixedThresholdClassifier"
_FROZEN, _PIPELINE = "sklearn.frozen._frozen.FrozenEstimator", "sklearn.pipeline.Pipeline"
_ENCODE = "sklearn.compose._column_transformer.ColumnTransformer"
_CODES = "sklearn.preprocessing._encoders.OrdinalEncoder"
_CLASSIFY, _REGRESS = "lightgbm.sklearn.LGBMClassifier", "lightgbm.sklearn.LGBMRegressor"
_BOOSTER = "lightgbm.basic.Booster"
#: All that one of the trainer's models holds; a file that holds more is not believed.
_TYPES = frozenset(
    {
        *(_MODEL, _FROZEN, _PIPELINE, _ENCODE, _CODES, _CLASSIFY, _REGRESS, _BOOSTER),
        *(
            "sklearn.preprocessing._function_transformer.FunctionTransformer",
            "sklearn.preprocessing._label.LabelEncoder",
        ),
        *("builtins.dict", "builtins.list", "builtins.tuple", "builtins.slice", "builtins.str", "builtins.int"),
        *("builtins.float", "builtins.bool", "collections.OrderedDict", "collections.defaultdict", "numpy.ndarray"),
        *("numpy.float64", "numpy.int64", "numpy.float32", "numpy.int32", "numpy.bool", "numpy.bool_"),
        "numpy.str_",
    }
)
#: How the trainer's encoders are set: a category that is missing or unseen has no code.
_SETTINGS = {"handle_unknown": "use_encoded_value", "min_frequency": None, "max_categories": None}


class NotOwnError(TrainerError):
    """A model is not built as the trainer builds them; the message says where."""


@dataclass(frozen=True)
class ModelParts:
    """A model taken apart.

    ``columns`` are the signature's names and their types, in its order; ``order`` are the names in the order in which
    the trees take them; ``codes`` has the code of each category of a column of texts, ``bounds``
    the smallest and the largest value of numbers in training. ``task`` is what is predicted, and ``classes`` are those
    of the target column, in the order of their codes. Of two classes, a row is of the second at a probability of
    ``threshold`` or above. ``example`` is a request that the model comes with, and ``answers`` the digest of what it
    said to the hard rows when it was saved.
    """

    columns: Mapping[str, ColumnType]
    order: tuple[str, ...]
    codes: Mapping[str, Mapping[str, float]]
    bounds: Mapping[str, tuple[float, float]]
    trees: str
    iterations: int
    threshold: float | None
    task: TaskName
    classes: tuple[Label, ...]
    example: bytes | None
    answers: str | None
    #: The words for a missing value in a text.
    gaps: frozenset[str]

    @property
    def ranges(self) -> Ranges:
        """What the columns hold."""
        return Ranges(self.columns, {name: tuple(codes) for name, codes in self.codes.items()}, self.bounds)


def read_parts(folder: Path) -> ModelParts:
    """Return the parts of the model in a folder in MLflow's format.

    Raises:
        NotOwnError: It is no model of the trainer's, or is built in another way.
    """
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        described = yaml.load((folder / "MLmodel").read_text(encoding="utf-8"), loader)  # noqa: S506 - a safe loader
        return _parts(folder, described)
    except NotOwnError:
        raise
    except Exception as error:  # whatever the readers of three formats raise at files that are built in another way
        raise NotOwnError(f"it is built in another way ({type(error).__name__}: {one_line(error, 100)})") from error


def _parts(folder: Path, described: Mapping[str, Any]) -> ModelParts:
    noted = noted_column_types(described.get("metadata"))
    if noted is None:
        raise NotOwnError("the trainer did not make it")
    if (code := code_in_description(folder, described["flavors"])) is not None:
        raise NotOwnError(code)
    general = described["flavors"]["python_function"]
    _expect(general["loader_module"], "mlflow.sklearn", "loader")
    _expect(general.get("predict_fn", "predict"), "predict", "predict_fn")
    signature = json.loads(described["signature"]["inputs"])
    columns = {column["name"]: noted[column["name"]] for column in signature}
    _expect(len(columns), len(noted), "number of columns")
    _expect({column["type"] for column in signature} <= {"any", "boolean", "string"}, True, "signature")
    _expect(all(column["required"] for column in signature), True, "signature")
    _expect(described["signature"].get("params"), None, "params")
    answers = described["metadata"].get("answers_digest")
    form = noted_form(described["metadata"])
    file = SkopsFile(folder / general["model_path"])
    if (foreign := file.foreign_type(_TYPES)) is not None:
        raise NotOwnError(f"it holds objects of the type {foreign}")
    told = str(answers) if answers else None
    return _model(file.root, columns, noted_task(described["metadata"]), _example(folder, described), told, form)


def _example(folder: Path, described: Mapping[str, Any]) -> bytes | None:
    name = (described.get("saved_input_example_info") or {}).get("serving_input_path")
    return (folder / name).read_bytes() if name and Path(name).name == name and (folder / name).is_file() else None


@dataclass(frozen=True)
class _Kind:
    """How the trainer builds the models of a task: what is outermost, and LightGBM's estimator."""

    model: str
    estimator: str


_KINDS: Mapping[TaskName, _Kind] = {
    "binary": _Kind(_MODEL, _CLASSIFY),
    "multiclass": _Kind(_PIPELINE, _CLASSIFY),
    "regression": _Kind(_PIPELINE, _REGRESS),
}


def _model(
    model: Node,
    columns: Mapping[str, ColumnType],
    target: tuple[TaskName, tuple[Label, ...]],
    example: bytes | None,
    answers: str | None,
    form: CsvForm,
) -> ModelParts:
    task, classes = target
    kind = _KINDS[task]
    _expect(model.type, kind.model, "model")
    pipeline, threshold = model, None
    if kind.model == _MODEL:
        _expect(model["response_method"].value(), "predict_proba", "response method")
        frozen = model["estimator_"]
        _expect(frozen.type, _FROZEN, "estimator")
        pipeline, threshold = frozen["estimator"], float(model["threshold"].value())
        _expect(pipeline.type, _PIPELINE, "pipeline")
    (_, encode), (_, estimate) = (tuple(step) for step in pipeline["steps"])
    _expect(encode.type, _ENCODE, "encoder")
    _expect(estimate.type, kind.estimator, "estimator")
    order, codes = _encoder(encode, columns)
    booster = estimate["_Booster"]
    _expect(booster.type, _BOOSTER, "booster")
    _expect(booster["pandas_categorical"].value(), [], "pandas_categorical")
    # It would end a row's prediction early.
    _expect("pred_early_stop" in estimate["_other_params"].value(), False, "pred_early_stop")
    if threshold is not None:
        low, high = estimate["_classes"].value()
        _expect((low, high, model["pos_label"].value()), (0, 1, 1), "classes")
        # An older model does not note what the target column had.
        classes = classes if len(classes) == 2 else (0, 1)
    elif classes:
        _expect(estimate["_classes"].value(), list(classes), "classes")
    trees = booster["_handle"].value()
    return ModelParts(
        columns=columns,
        order=order,
        codes=codes,
        bounds=feature_bounds(trees, order),
        trees=trees,
        iterations=int(booster["best_iteration"].value() or 0),
        threshold=threshold,
        task=task,
        classes=classes,
        example=example,
        answers=answers,
        gaps=frozenset(form.gaps),
    )


def _encoder(encode: Node, columns: Mapping[str, ColumnType]) -> tuple[tuple[str, ...], dict[str, dict[str, float]]]:
    """Return the columns in the order that the encoder gives them, and the codes of the texts.

    What was without a value in training is not among them: the trees do not get to see it.
    """
    names: list[str] = []
    unseen: list[str] = []
    in_order = list(columns)
    codes: dict[str, dict[str, float]] = {}
    for label, transformer, given in (tuple(part) for part in encode["transformers_"]):
        # Where a kind of columns is not there, scikit-learn names the remaining ones by their places.
        kind, chosen = label.value(), [name if isinstance(name, str) else in_order[name] for name in given.value()]
        if kind == "remainder":
            _expect({columns[name] for name in chosen} <= {"number"}, True, "remainder")
        else:
            _expect({columns[name] for name in chosen} <= {kind}, True, f"columns of the type {kind}")
        if kind == "unknown":
            _expect(transformer.value(), "drop", "encoder of empty columns")
            unseen += chosen
            continue
        names += chosen
        if kind == "remainder" or not chosen:
            continue
        _expect(transformer.type, _CODES, "encoder")
        _expect({name: transformer[name].value() for name in _SETTINGS}, _SETTINGS, "encoder's settings")
        for name, known in zip(chosen, transformer["categories_"], strict=True):
            values = known.value()
            if kind == "boolean":
                _expect(values, [False, True], "booleans")
            else:
                # A missing value is the last category, if it is one; its code is a missing value as well.
                codes[name] = {value: float(code) for code, value in enumerate(values) if isinstance(value, str)}
    _expect(sorted([*names, *unseen]), sorted(columns), "columns")
    return tuple(names), codes


def _expect(found: object, wanted: object, what: str) -> None:
    if found != wanted:
        raise NotOwnError(f"its {what} is {one_line(repr(found), 100)}, not {one_line(repr(wanted), 100)}")
