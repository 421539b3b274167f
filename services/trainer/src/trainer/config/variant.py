"""A variant: a named set of parameters, completed by the defaults and checked as a whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from trainer.config.other_estimator import BASELINES, OtherEstimator, parse_other_estimator
from trainer.config.parameter import Value, shown_value
from trainer.config.parameter_names import parse_param
from trainer.config.parameter_table import BY_NAME, PARAMETERS
from trainer.config.selection_metric import Metric
from trainer.config.task import Task, TaskName
from trainer.util.errors import InputError

#: The sweep without a variants file: slower learning with more trees, over the baseline.
STANDARD_VARIANTS: tuple[Mapping[str, Value], ...] = (
    {"n_estimators": 200, "learning_rate": 0.05},
    {"n_estimators": 500, "learning_rate": 0.025},
    {"n_estimators": 1000, "learning_rate": 0.01},
)


@dataclass(frozen=True)
class Variant:
    """A named set of parameters: what was asked for, and the complete set that results from it."""

    name: str
    params: Mapping[str, Value]
    overrides: Mapping[str, Value] = field(default_factory=dict)
    #: Another estimator than LightGBM's, in place of the parameters.
    other: OtherEstimator | None = None
    #: Whether it is there for comparison only: it is not chosen.
    baseline: bool = False


def complete_params(*layers: Mapping[str, Value]) -> dict[str, Value]:
    """Return the complete parameters: the defaults overridden by each layer in turn.

    Args:
        layers: Mappings from parameter name to value, as ``parse`` returns them; a later one wins.

    Raises:
        InputError: Values that are allowed one by one but not together.
    """
    params: dict[str, Value] = {parameter.name: parameter.default for parameter in PARAMETERS}
    for layer in layers:
        params.update(layer)
    _check_together(params)
    return params


def make_variant(
    overrides: Mapping[str, Value], base: Mapping[str, Value] | None = None, name: str | None = None
) -> Variant:
    """Return a variant: ``overrides`` over ``base`` over the defaults.

    Args:
        overrides: What distinguishes this variant; it gives the variant its name.
        base: What the variants of a sweep have in common.
        name: The variant's name; made of the overrides by default, such as ``n_estimators=500 learning_rate=0.025``.

    Raises:
        InputError: Values that are allowed one by one but not together.
    """
    return Variant(
        name=name or describe_params(overrides) or "baseline",
        params=complete_params(base or {}, overrides),
        overrides=dict(overrides),
    )


def make_baselines(task: TaskName) -> list[Variant]:
    """Return the baselines of a task."""
    params = complete_params()
    return [Variant(name, params, other=other, baseline=True) for name, other in BASELINES[task].items()]


def make_other(other: OtherEstimator, name: str | None = None) -> Variant:
    """Return a variant of another estimator, named by its class and parameters."""
    given = " ".join(f"{key}={value}" for key, value in other.params.items())
    return Variant(name or f"{other.class_name} {given}".strip()[:250], complete_params(), other=other)


def parse_variant(item: Mapping[str, Any], base: Mapping[str, Value] | None = None, name: str | None = None) -> Variant:
    """Return the variant that a mapping describes: LightGBM's parameters, or another estimator.

    Args:
        item: Parameters by their names; or ``estimator``, and perhaps ``estimator_params``, alone.
        base: LightGBM's parameters that the variants of a sweep have in common.
        name: The variant's name; made of what distinguishes it by default.

    Raises:
        InputError: A parameter is not known, a value is not allowed, or the two are mixed.
    """
    if "estimator" not in item:
        if "estimator_params" in item:
            raise InputError("estimator_params: name the estimator with estimator")
        return make_variant(dict(parse_param(key, value) for key, value in item.items()), base, name)
    for key in item:
        if key not in ("estimator", "estimator_params"):
            raise InputError(f"{key} is LightGBM's; an estimator takes its parameters by estimator_params")
    return make_other(parse_other_estimator(str(item["estimator"]), item.get("estimator_params")), name)


def describe_params(params: Mapping[str, Value]) -> str:
    """Return parameters as ``name=value`` pairs, the way a run is named."""
    return " ".join(f"{name}={shown_value(value, quote=False)}" for name, value in params.items())


def param_warnings(params: Mapping[str, Value]) -> list[str]:
    """Return warnings on parameters that are allowed but have no effect as they stand."""
    warnings = []
    subsample, frequency = params["subsample"], params["subsample_freq"]
    if subsample != 1.0 and not frequency:
        warnings.append(
            f"subsample={subsample} has no effect while subsample_freq is 0; set subsample_freq to 1 or more"
        )
    objective = params["objective"]
    for name, objectives in _OF_OBJECTIVE.items():
        if params[name] is not None and objective not in objectives:
            warnings.append(f"{name} has no effect without objective={' or '.join(objectives)}")
    if params["data_sample_strategy"] != "goss":
        warnings += [f"{name} has no effect without data_sample_strategy=goss" for name in _OF_GOSS if params[name]]
    if params["boosting_type"] != "dart":
        warnings += [f"{name} has no effect without boosting_type=dart" for name in _OF_DART if params[name]]
    if params["boosting_type"] == "rf" and params["learning_rate"] != BY_NAME["learning_rate"].default:
        warnings.append("learning_rate has no effect with boosting_type=rf")
    if params["boosting_type"] == "dart" and params["early_stopping_round"]:
        warnings.append("early_stopping_round has no effect with boosting_type=dart")
    return warnings


_OF_OBJECTIVE: Mapping[str, tuple[str, ...]] = {
    "alpha": ("quantile", "huber"),
    "tweedie_variance_power": ("tweedie",),
    "fair_c": ("fair",),
    "poisson_max_delta_step": ("poisson",),
}
_OF_GOSS, _OF_DART = ("top_rate", "other_rate"), ("drop_rate", "skip_drop")
#: What variants are chosen by where nobody says so, of objectives that do not minimise the squared error.
CHOSEN_BY: Mapping[str, Metric] = {
    "quantile": "quantile_loss",
    **dict.fromkeys(("regression_l1", "huber", "fair", "mape"), "mae"),
}


def selection_metric(task: Task, wanted: str | None, all_params: Sequence[Mapping[str, Value]]) -> Metric:
    """Return what variants are chosen by: what is wanted, or what goes with the objective that all of them have.

    Raises:
        InputError: The task, or a variant's objective, has no such metric.
    """
    objectives = {some["objective"] for some in all_params}
    if wanted == "quantile_loss" and objectives != {"quantile"}:
        raise InputError("--metric: quantile_loss is that of a quantile; it needs --objective quantile")
    if wanted is None and len(objectives) == 1 and (its := CHOSEN_BY.get(str(*objectives))) in task.choices:
        wanted = its
    return task.metric(wanted)


def check_params(params: Mapping[str, Value], task: TaskName) -> None:
    """Refuse parameters that mean nothing for a task.

    Raises:
        InputError: A weight of classes is given, and there are no two classes.
    """
    if params["objective"] and task != "regression":
        raise InputError(f"objective={params['objective']} predicts a number, and the target is {task}")
    for name in () if task == "binary" else ("scale_pos_weight", "is_unbalance"):
        if params[name] != BY_NAME[name].default:
            other = "; class_weight=balanced weights several classes" if task == "multiclass" else ""
            raise InputError(f"{name} weights two classes, and the target is {task}{other}")
    if task == "regression" and params["class_weight"]:
        raise InputError("class_weight weights classes, and the target is a number; rows have a weight by --weight")


def _check_together(params: Mapping[str, Value]) -> None:
    weightings = [name for name in ("is_unbalance", "class_weight") if params[name]]
    if params["scale_pos_weight"] != 1.0:
        weightings.append("scale_pos_weight")
    if len(weightings) > 1:
        raise InputError(f"{' and '.join(weightings)} both weight the classes; give only one of them")
    if params["data_sample_strategy"] == "goss" and (params["subsample_freq"] or params["boosting_type"] == "rf"):
        raise InputError("data_sample_strategy=goss draws the rows itself; leave out subsample and boosting_type=rf")
    if params["boosting_type"] == "rf":
        frequency, rows, features = params["subsample_freq"], params["subsample"], params["colsample_bytree"]
        if not (frequency and rows != 1.0) and features == 1.0:
            raise InputError(
                "boosting_type=rf needs randomness: set subsample below 1 with subsample_freq of at least 1,"
                " or colsample_bytree below 1"
            )
