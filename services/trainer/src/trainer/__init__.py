"""Trains LightGBM purchase classifiers and tracks each variant as an MLflow run.

What notebooks and pipelines use is exported here; ``api`` documents it, with examples:

>>> from trainer import load_data, train
>>> dataset = load_data(rows=600)
>>> train(dataset, {"n_estimators": 10}).status
'FINISHED'

Nothing heavy is imported before one of these names is used: the command line answers ``--help`` before pandas, LightGBM
or MLflow load.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trainer.api import CsvForm, Dataset, TrainerError, load_data, predict, register, search, sweep, train

__all__ = ["CsvForm", "Dataset", "TrainerError", "load_data", "predict", "register", "search", "sweep", "train"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from trainer import api

    return getattr(api, name)
