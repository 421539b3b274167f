"""A run's parameters: everything that determines its result."""

from __future__ import annotations

from typing import Any

from trainer.config.task import TASKS
from trainer.config.variant import Variant
from trainer.data.dataset import Dataset
from trainer.data.row_split import split_rows
from trainer.runs.plan import Plan
from trainer.training.other_estimators import make_estimator
from trainer.training.pipeline import estimator
from trainer.training.validation_split import fold_splits


def parameters(variant: Variant, dataset: Dataset, plan: Plan) -> dict[str, Any]:
    """Return everything that determines the result, as the run's parameters."""
    return {
        **_estimator_parameters(variant, dataset, plan),
        **plan.config.parameters(TASKS[dataset.task]),
        **({} if dataset.test_size is None else {"test_size": dataset.test_size, "split_seed": dataset.seed}),
        "data": dataset.name,
        "data_digest": dataset.digest,
        "target": dataset.target,
        **_task_parameters(dataset),
        **({} if dataset.positive is None else {"positive": dataset.positive}),
        **{f"{role}_column": name for role, name in dataset.roles.items()},
        **{f"csv_{name}": value for name, value in dataset.form.note().items()},
        **dataset.split,
        **(
            {"monotone": ", ".join(f"{name}={sign:+d}" for name, sign in dataset.monotone.items())}
            if dataset.monotone and variant.other is None
            else {}
        ),
        "features": len(dataset.column_types),
        "categorical_features": ", ".join([*dataset.columns("text"), *dataset.columns("boolean")])[:5_000],
        **_rows(dataset, plan),
    }


def _estimator_parameters(variant: Variant, dataset: Dataset, plan: Plan) -> dict[str, Any]:
    if variant.other is None:
        own: dict[str, Any] = estimator(variant.params, plan.config.seed, dataset.task).get_params()
        return own
    made = make_estimator(variant.other, plan.config.seed, dataset.task).get_params(deep=False)
    # With a prefix: an estimator's parameter may have the name of another parameter of the run.
    return {"estimator": variant.other.path, **{f"estimator_{name}": str(value)[:500] for name, value in made.items()}}


def _task_parameters(dataset: Dataset) -> dict[str, Any]:
    """Return the task and the number of its classes; empty for two classes, which runs do not note."""
    if dataset.task == "binary":
        return {}
    classes = {"classes": len(dataset.classes)} if dataset.classes else {}
    return {"task": dataset.task, **classes}


def _rows(dataset: Dataset, plan: Plan) -> dict[str, int]:
    rows, held_out = dataset.train.rows, dataset.train.rows
    if not plan.config.folds:
        held_out = len(split_rows(dataset.train, plan.config.validation_size, plan.config.seed)[1])
        rows -= held_out
    elif dataset.train.time is not None:
        held_out = sum(len(out) for _, out in fold_splits(dataset.train, plan.config.folds, plan.config.seed))
    return {"rows_fit": rows, "rows_validation": held_out, "rows_test": dataset.test.rows}
