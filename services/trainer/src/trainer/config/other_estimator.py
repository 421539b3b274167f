"""Another estimator than LightGBM's, named by its class; and the baselines that a model's metrics are compared with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from trainer.config.task import TaskName
from trainer.util.errors import InputError

EXPECTED = "module:Class, such as sklearn.ensemble:RandomForestClassifier, or file.py:Class"


@dataclass(frozen=True)
class OtherEstimator:
    """A class with scikit-learn's interface, as ``module:Class`` or ``file.py:Class``, and its parameters."""

    path: str
    params: Mapping[str, Any] = field(default_factory=dict)

    @property
    def module(self) -> str:
        """The module, or the file that holds it."""
        return self.path.rpartition(":")[0]

    @property
    def class_name(self) -> str:
        """The class's name."""
        return self.path.rpartition(":")[2]

    @property
    def options(self) -> dict[str, Any]:
        """What names it on the command line and in files."""
        return {"estimator": self.path, "estimator_params": dict(self.params)}


def parse_other_estimator(path: str, params: Any = None) -> OtherEstimator:
    """Return the estimator that a text names.

    Args:
        path: ``module:Class`` or ``file.py:Class``.
        params: What its class is called with.

    Raises:
        InputError: It is no such text, or the parameters are no mapping.
    """
    module, colon, name = path.strip().rpartition(":")
    if not colon or not module or not name.isidentifier():
        raise InputError(f"--estimator: {path!r} is not allowed; write {EXPECTED}")
    if params is not None and not (isinstance(params, dict) and all(isinstance(key, str) for key in params)):
        raise InputError("--estimator-params: write a mapping, such as '{n_estimators: 300, max_depth: 8}'")
    return OtherEstimator(f"{module}:{name}", dict(params or {}))


#: The baselines of each task, by their names: a constant, and a linear model.
BASELINES: Mapping[TaskName, Mapping[str, OtherEstimator]] = {
    "binary": {
        "baseline: constant": OtherEstimator("sklearn.dummy:DummyClassifier", {"strategy": "prior"}),
        "baseline: logistic regression": OtherEstimator("sklearn.linear_model:LogisticRegression", {"max_iter": 1000}),
    },
    "multiclass": {
        "baseline: constant": OtherEstimator("sklearn.dummy:DummyClassifier", {"strategy": "prior"}),
        "baseline: logistic regression": OtherEstimator("sklearn.linear_model:LogisticRegression", {"max_iter": 1000}),
    },
    "regression": {
        "baseline: mean": OtherEstimator("sklearn.dummy:DummyRegressor"),
        "baseline: ridge regression": OtherEstimator("sklearn.linear_model:Ridge"),
    },
}
