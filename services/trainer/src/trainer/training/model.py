"""Writes a fitted variant in MLflow's model format, with signature, input example and pinned requirements."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib.metadata import packages_distributions, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer.accelerators.booster_state import ask_once
from trainer.accelerators.requirements_check import skip_requirements_check
from trainer.config.task import TASKS
from trainer.data.dataset import Dataset
from trainer.training import trained_on
from trainer.training.hard_rows import Ranges, ask_model, feature_bounds
from trainer.training.model_metadata import CSV, TRUSTED_TYPES
from trainer.training.other_estimators import code_files
from trainer.training.pipeline import is_lightgbm
from trainer.util.errors import TrainerError
from trainer.util.text import one_line

if TYPE_CHECKING:
    from mlflow.models import ModelSignature

MODEL_NAME = "model"
#: What is needed to load and use a model, no more: MLflow would otherwise spend seconds on finding out.
REQUIREMENTS = ("mlflow", "lightgbm", "numpy", "pandas", "scikit-learn", "scipy", "skops")
EXAMPLE_ROWS = 5


@cache
def model_requirements() -> tuple[str, ...]:
    """Return the pinned requirements of a model, from the versions that are installed."""
    return _pinned(REQUIREMENTS)


def _pinned(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(f"{name}=={version(name)}" for name in names)


def model_signature(dataset: Dataset) -> ModelSignature:
    """Return the model's signature: its raw feature columns, and the class or the number that it predicts.

    Numbers are of type "any": a CSV file's column of numbers is read as integers or as decimals depending on its rows,
    and MLflow's "double" refuses int64 while its "long" refuses missing values. Values may be missing, columns may not.
    A server, which gets its numbers as text, can be stricter: see ``serving.columns``.
    """
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, Schema
    from mlflow.types.schema import AnyType

    types: dict[str, Any] = {
        "number": AnyType(),  # type: ignore[no-untyped-call]
        "boolean": DataType.boolean,
        "text": DataType.string,
        "unknown": AnyType(),  # type: ignore[no-untyped-call]
    }
    inputs = Schema([ColSpec(types[kind], name) for name, kind in dataset.column_types.items()])
    answers = DataType[TASKS[dataset.task].answer_type(dataset.classes)]
    return ModelSignature(inputs=inputs, outputs=Schema([ColSpec(answers, dataset.target)]))


def save_model(model: Any, dataset: Dataset, folder: Path, *, run_id: str, model_id: str, location: str) -> None:
    """Write the model's files.

    Args:
        model: The fitted model.
        dataset: The data it was fitted to; gives the signature and the input example.
        folder: The folder to write; must not exist.
        run_id: The run that made the model.
        model_id: The logged model's id.
        location: Where the logged model's artifacts will be.

    Raises:
        TrainerError: Its estimator cannot be saved in a format that runs no code.
    """
    import mlflow.sklearn
    from mlflow.models import Model

    skip_requirements_check()
    ask_once()
    own = _of_estimator(model)
    mlflow.sklearn.save_model(
        model,
        str(folder),
        code_paths=own.code_paths or None,
        mlflow_model=Model(artifact_path=location, model_uuid=model_id, run_id=run_id, model_id=model_id),
        signature=model_signature(dataset),
        input_example=dataset.train.features.head(EXAMPLE_ROWS),
        pip_requirements=list(own.requirements),
        serialization_format="skops",
        skops_trusted_types=list(own.trusted_types),
        metadata={
            "target": dataset.target,
            "task": dataset.task,
            "classes": list(dataset.classes),
            "columns": dict(dataset.column_types),
            # By which a server that takes the model apart knows that it did so rightly.
            **({"answers_digest": ask_model(model, _ranges(model, dataset))} if own.is_lightgbm else {}),
            **({CSV: noted} if (noted := dataset.form.note()) else {}),
            **trained_on.metadata_of(dataset),
        },
    )
    trained_on.write_rows(dataset, folder)


@dataclass(frozen=True)
class _Estimator:
    """What saving a model takes that depends on its estimator."""

    is_lightgbm: bool
    requirements: tuple[str, ...]
    trusted_types: tuple[str, ...]
    code_paths: list[str]


def _of_estimator(model: Any) -> _Estimator:
    _, estimator = parts_of(model)
    if is_lightgbm(estimator):
        return _Estimator(True, model_requirements(), TRUSTED_TYPES, [])
    from skops.io import dumps, get_untrusted_types, loads

    name = type(estimator).__name__
    try:
        content = dumps(model)
        types = tuple(get_untrusted_types(data=content))
        loads(content, trusted=list(types))
    except Exception as error:  # whatever the parts of another's estimator raise
        raise TrainerError(
            f"{name} cannot be saved in skops format, which runs no code:"
            f" {type(error).__name__}: {one_line(error, 200)}"
        ) from error
    package = type(estimator).__module__.partition(".")[0]
    made_by = [one for one in packages_distributions().get(package, []) if one not in REQUIREMENTS]
    needed = [one for one in REQUIREMENTS if one != "lightgbm"]
    return _Estimator(False, _pinned([*needed, *dict.fromkeys(made_by)]), types, code_files(estimator))


def parts_of(model: Any) -> tuple[Any, Any]:
    """Return the encoder and the estimator of a model: a pipeline, or what decides by a threshold on top of one."""
    pipeline = model if hasattr(model, "named_steps") else model.estimator_
    # A frozen estimator passes everything on to the one inside.
    steps = getattr(pipeline, "estimator", pipeline).named_steps
    return steps["encode"], steps["classify"]


def _ranges(model: Any, dataset: Dataset) -> Ranges:
    """Return what the columns of a fitted model hold, in the order of its signature."""
    encode, classify = parts_of(model)
    categories = {
        name: tuple(value for value in known if isinstance(value, str))
        for label, transformer, columns in encode.transformers_
        if label == "text" and len(columns)
        for name, known in zip(columns, transformer.categories_, strict=True)
    }
    trees = classify.booster_.model_to_string(num_iteration=1)
    return Ranges(dataset.column_types, categories, feature_bounds(trees, list(encode.get_feature_names_out())))
