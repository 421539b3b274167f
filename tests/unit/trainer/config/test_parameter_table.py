"""The table of parameters, and the variants made of it."""

from __future__ import annotations

import math

import lightgbm
import pytest
from trainer.config import parameter_table
from trainer.config.parameter import Value
from trainer.config.parameter_names import parse_param
from trainer.config.variant import complete_params, make_variant, param_warnings
from trainer.util.errors import InputError


def test_baseline_is_the_documented_one() -> None:
    baseline = make_variant({})
    expected = {
        "num_leaves": 60,
        "min_child_samples": 10,
        "max_depth": 12,
        "n_estimators": 100,
        "learning_rate": 0.1,
    }
    assert {name: baseline.params[name] for name in expected} == expected
    assert baseline.name == "baseline"
    assert "objective" not in parameter_table.FIXED


def test_lightgbm_knows_every_parameter() -> None:
    """Every parameter is one that LightGBM knows."""
    known = set(lightgbm.LGBMClassifier().get_params()) | {
        name
        for main, aliases in lightgbm.basic._ConfigAliases._get_all_param_aliases().items()
        for name in (main, *aliases)
    }
    assert {parameter.name for parameter in parameter_table.PARAMETERS} <= known
    assert {alias for parameter in parameter_table.PARAMETERS for alias in parameter.aliases} - known <= {
        "num_leaf", "depth", "tree_depth", "gamma", "lr", "nrounds", "min_data_per_leaf", "l1", "l2", "pos_weight",
        "is_unbalanced", "early_stopping", "max_bins", "n_iter_no_change", "min_samples_leaf", "max_iter", "max_leaves",
        "trees",
    }  # fmt: skip


def test_every_default_is_allowed() -> None:
    for parameter in parameter_table.PARAMETERS:
        if parameter.default is not None:
            assert parameter.parse(parameter.default) == parameter.default


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("num_leaves", 1),
        ("num_leaves", 131_073),
        ("num_leaves", "many"),
        ("num_leaves", 31.5),
        ("num_leaves", True),
        ("num_leaves", None),
        ("num_leaves", [31]),
        ("num_leaves", "1e99"),
        ("max_depth", -2),
        ("n_estimators", 0),
        ("learning_rate", 0),
        ("learning_rate", 1.01),
        ("learning_rate", "nan"),
        ("learning_rate", math.inf),
        ("subsample", 0.0),
        ("subsample", 1.5),
        ("reg_alpha", -0.1),
        ("max_bin", 1),
        ("scale_pos_weight", 0),
        ("boosting_type", "gbtd"),
        ("class_weight", "heavy"),
        ("is_unbalance", "perhaps"),
        ("random_state", -1),
    ],
)
def test_value_out_of_range_is_refused(name: str, value: object) -> None:
    """Value out of range is refused with name value and range."""
    with pytest.raises(InputError) as refused:
        parse_param(name, value)
    message = str(refused.value)
    assert name in message
    assert str(value).lower() in message.lower() or repr(value) in message
    assert parameter_table.BY_NAME[name].allowed in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("num_leaves", "31", 31),
        ("num_leaves", 31.0, 31),
        ("max_depth", -1, -1),
        ("learning_rate", "0.05", 0.05),
        ("learning_rate", 1, 1.0),
        ("boosting_type", "DART", "dart"),
        ("class_weight", "balanced", "balanced"),
        ("class_weight", "none", None),
        ("is_unbalance", "yes", True),
        ("is_unbalance", False, False),
    ],
)
def test_allowed_value_is_converted(name: str, value: object, expected: object) -> None:
    parsed = parse_param(name, value)[1]
    assert parsed == expected
    assert type(parsed) is type(expected)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("num_leafs", "num_leaves"),
        ("bagging_fraction", "subsample"),
        ("feature_fraction", "colsample_bytree"),
        ("eta", "learning_rate"),
        ("N_Estimators", "n_estimators"),
        ("n-estimators", "n_estimators"),
        ("lambda_l2", "reg_lambda"),
    ],
)
def test_unknown_parameter_names_the_nearest(written: str, meant: str) -> None:
    """Unknown parameter is answered with the nearest."""
    with pytest.raises(InputError, match=f"did you mean '{meant}'"):
        parse_param(written, 1)


def test_strange_parameter_has_no_suggestion() -> None:
    """Unknown parameter without a near one has no suggestion."""
    with pytest.raises(InputError) as refused:
        parse_param("zzzzz", 1)
    assert "did you mean" not in str(refused.value)


def test_layers_override_one_another() -> None:
    made = make_variant({"learning_rate": 0.05}, base={"learning_rate": 0.5, "num_leaves": 8})
    assert made.params["learning_rate"] == 0.05
    assert made.params["num_leaves"] == 8
    assert made.params["max_depth"] == 12
    assert made.name == "learning_rate=0.05"


@pytest.mark.parametrize(
    "overrides",
    [
        {"is_unbalance": True, "class_weight": "balanced"},
        {"is_unbalance": True, "scale_pos_weight": 3.0},
        {"class_weight": "balanced", "scale_pos_weight": 3.0},
        {"boosting_type": "rf"},
        {"boosting_type": "rf", "subsample": 0.5},
    ],
)
def test_contradicting_values_are_refused(overrides: dict[str, Value]) -> None:
    with pytest.raises(InputError):
        make_variant(overrides)


def test_values_without_effect_are_remarked_on() -> None:
    assert any("subsample_freq" in remark for remark in param_warnings(complete_params({"subsample": 0.5})))
    assert param_warnings(complete_params({"subsample": 0.5, "subsample_freq": 1})) == []
    assert param_warnings(complete_params()) == []
