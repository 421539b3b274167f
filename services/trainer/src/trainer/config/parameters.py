"""LightGBM's parameters as one table, and the variants that are made of them.

The table drives the command line's options, the validation of variant files and every message about a wrong value. To
add a parameter, add a row: nothing else needs to change. This module imports no third-party package, so that the
command line starts at once.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from trainer.config.truth import FLAGS
from trainer.util.errors import InputError
from trainer.util.text import nearest

Value = bool | int | float | str | None

#: Set in every fit and not open to change: they make a fit deterministic, and a variant one process with one thread.
FIXED: Mapping[str, Value] = {
    "deterministic": True,
    "force_row_wise": True,
    "n_jobs": 1,
    "verbosity": -1,
}


@dataclass(frozen=True)
class Parameter:
    """One LightGBM parameter: its name in scikit-learn's spelling, its type, its allowed values and its help."""

    name: str
    kind: type[bool] | type[int] | type[float] | type[str]
    default: Value
    group: str
    help: str
    low: float | None = None
    high: float | None = None
    low_open: bool = False
    choices: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()

    @property
    def option(self) -> str:
        """The parameter's spelling on the command line, such as ``--num-leaves``."""
        return "--" + self.name.replace("_", "-")

    @property
    def allowed(self) -> str:
        """The allowed values in words, as they appear in messages and in the help."""
        if self.choices:
            return "one of " + ", ".join(self.choices)
        if self.kind is bool:
            return "true or false"
        noun = "an integer" if self.kind is int else "a number"
        low, high = _plain(self.low), _plain(self.high)
        if low is not None and high is not None:
            return f"{noun} above {low}, up to {high}" if self.low_open else f"{noun} from {low} to {high}"
        if low is not None:
            return f"{noun} above {low}" if self.low_open else f"{noun} of at least {low}"
        return noun

    def parse(self, value: object, label: str | None = None) -> Value:
        """Return ``value`` converted to the parameter's type.

        Args:
            value: Text from the command line, or a scalar from a YAML file.
            label: How a message names the parameter; its name by default.

        Raises:
            InputError: The value has the wrong type or is out of range; the message names parameter, value and range.
        """
        problem = InputError(f"{label or self.name}: {shown_value(value)} is not allowed; it must be {self.allowed}")
        if self.choices:
            text = str(value).strip().lower() if value is not None else "none"
            if text not in self.choices:
                raise problem
            return None if text == "none" else text
        if self.kind is bool:
            flag = FLAGS.get(str(value).lower())
            if flag is None:
                raise problem
            return flag
        if isinstance(value, bool) or not isinstance(value, (int, float, str)):
            raise problem
        try:
            number = float(value)
            if self.kind is int and isinstance(value, str):
                number = int(value)
        except (ValueError, OverflowError):
            raise problem from None
        if not math.isfinite(number) or (self.kind is int and number != int(number)):
            raise problem
        too_low = self.low is not None and (number <= self.low if self.low_open else number < self.low)
        if too_low or (self.high is not None and number > self.high):
            raise problem
        return int(number) if self.kind is int else float(number)


TREES, LEARNING, SAMPLING, REGULARISATION, CLASSES = (
    "Trees",
    "Learning",
    "Sampling",
    "Regularisation",
    "Class imbalance",
)

#: What a regression may minimise, beside the squared error.
OBJECTIVES = ("regression", "regression_l1", "huber", "fair", "mape", "poisson", "gamma", "tweedie", "quantile")
#: Parameters without a default are left to LightGBM where they are not given.
PARAMETERS: tuple[Parameter, ...] = (
    Parameter(
        "objective",
        str,
        None,
        LEARNING,
        "What a regression minimises: by default the squared error (regression); quantile predicts the quantile alpha,"
        " poisson counts, gamma and tweedie amounts.",
        choices=("none", *OBJECTIVES),
        aliases=("loss", "objective_type", "app", "application"),
    ),
    Parameter(
        "alpha",
        float,
        None,
        LEARNING,
        "The quantile of objective quantile, and where huber's loss turns linear; 0.9 unless given.",
        0,
        1,
        low_open=True,
    ),
    Parameter(
        "tweedie_variance_power",
        float,
        None,
        LEARNING,
        "Between poisson (1) and gamma (2), of objective tweedie; 1.5 unless given.",
        1,
        1.999,
    ),
    Parameter("fair_c", float, None, LEARNING, "Of objective fair; 1 unless given.", 0, low_open=True),
    Parameter(
        "poisson_max_delta_step", float, None, LEARNING, "Of objective poisson; 0.7 unless given.", 0, low_open=True
    ),
    Parameter(
        "n_estimators",
        int,
        100,
        LEARNING,
        "Boosting iterations.",
        1,
        100_000,
        aliases=(
            "num_iterations",
            "num_trees",
            "num_round",
            "num_boost_round",
            "trees",
            "n_iter",
            "max_iter",
            "nrounds",
        ),
    ),
    Parameter(
        "learning_rate",
        float,
        0.1,
        LEARNING,
        "Shrinkage of each tree's contribution.",
        0,
        1,
        low_open=True,
        aliases=("eta", "shrinkage_rate", "lr"),
    ),
    Parameter(
        "boosting_type",
        str,
        "gbdt",
        LEARNING,
        "Gradient boosting, DART, or a random forest.",
        choices=("gbdt", "dart", "rf"),
        aliases=("boosting", "boost"),
    ),
    Parameter(
        "early_stopping_round",
        int,
        0,
        LEARNING,
        "Stop when --metric has not improved on the validation rows for this many iterations; 0 never stops early.",
        0,
        100_000,
        aliases=("early_stopping_rounds", "early_stopping", "n_iter_no_change"),
    ),
    Parameter(
        "random_state",
        int,
        None,
        LEARNING,
        "Seed of LightGBM's own sampling; --seed unless given.",
        0,
        2**31 - 1,
        aliases=("random_seed", "seed"),
    ),
    Parameter("num_leaves", int, 60, TREES, "Leaves a tree may have.", 2, 131_072, aliases=("num_leaf", "max_leaves")),
    Parameter(
        "max_depth",
        int,
        12,
        TREES,
        "Levels a tree may have; -1 for no limit.",
        -1,
        1_000,
        aliases=("depth", "tree_depth"),
    ),
    Parameter(
        "min_child_samples",
        int,
        10,
        TREES,
        "Fewest rows in a leaf.",
        0,
        aliases=("min_data_in_leaf", "min_samples_leaf", "min_data_per_leaf"),
    ),
    Parameter(
        "min_child_weight",
        float,
        1e-3,
        TREES,
        "Smallest sum of Hessians in a leaf.",
        0,
        aliases=("min_sum_hessian_in_leaf", "min_hessian"),
    ),
    Parameter(
        "min_split_gain",
        float,
        0.0,
        TREES,
        "Smallest gain that justifies a split.",
        0,
        aliases=("min_gain_to_split", "gamma"),
    ),
    Parameter("max_bin", int, 255, TREES, "Bins a feature's values are sorted into.", 2, 65_535, aliases=("max_bins",)),
    Parameter(
        "subsample_for_bin",
        int,
        200_000,
        TREES,
        "Rows looked at to find the bins.",
        1,
        2**31 - 1,
        aliases=("bin_construct_sample_cnt",),
    ),
    Parameter("extra_trees", bool, False, TREES, "Pick split thresholds at random (extremely randomised trees)."),
    Parameter(
        "subsample",
        float,
        1.0,
        SAMPLING,
        "Share of the rows used for a tree; needs --subsample-freq.",
        0,
        1,
        low_open=True,
        aliases=("bagging_fraction", "sub_row", "bagging"),
    ),
    Parameter(
        "subsample_freq",
        int,
        0,
        SAMPLING,
        "Draw the rows anew every so many iterations; 0 never draws.",
        0,
        100_000,
        aliases=("bagging_freq",),
    ),
    Parameter(
        "colsample_bytree",
        float,
        1.0,
        SAMPLING,
        "Share of the features used for a tree.",
        0,
        1,
        low_open=True,
        aliases=("feature_fraction", "sub_feature"),
    ),
    Parameter(
        "colsample_bynode",
        float,
        None,
        SAMPLING,
        "Share of the features used for a node; 1 unless given.",
        0,
        1,
        low_open=True,
        aliases=("feature_fraction_bynode", "sub_feature_bynode"),
    ),
    Parameter(
        "data_sample_strategy",
        str,
        None,
        SAMPLING,
        "goss takes the rows with large gradients, and few of the others.",
        choices=("none", "bagging", "goss"),
    ),
    Parameter("top_rate", float, None, SAMPLING, "Of goss: the share of large gradients; 0.2 unless given.", 0, 1),
    Parameter("other_rate", float, None, SAMPLING, "Of goss: the share of the others; 0.1 unless given.", 0, 1),
    Parameter("drop_rate", float, None, SAMPLING, "Of dart: the share of trees dropped; 0.1 unless given.", 0, 1),
    Parameter("skip_drop", float, None, SAMPLING, "Of dart: how often none is dropped; 0.5 unless given.", 0, 1),
    Parameter(
        "max_delta_step",
        float,
        None,
        REGULARISATION,
        "The largest value of a leaf; 0, no limit, unless given.",
        0,
        aliases=("max_tree_output", "max_leaf_output"),
    ),
    Parameter(
        "max_cat_threshold",
        int,
        None,
        REGULARISATION,
        "Most categories on a split's side; 32 unless given.",
        1,
        2**31 - 1,
    ),
    Parameter(
        "max_cat_to_onehot",
        int,
        None,
        REGULARISATION,
        "With so many categories or fewer, a split parts one from the others; 4 unless given.",
        1,
        2**31 - 1,
    ),
    Parameter("reg_alpha", float, 0.0, REGULARISATION, "L1 penalty on leaf values.", 0, aliases=("lambda_l1", "l1")),
    Parameter("reg_lambda", float, 0.0, REGULARISATION, "L2 penalty on leaf values.", 0, aliases=("lambda_l2", "l2")),
    Parameter("path_smooth", float, 0.0, REGULARISATION, "Smoothing of a leaf's value towards its parent's.", 0),
    Parameter("cat_smooth", float, 10.0, REGULARISATION, "Smoothing of rare categories.", 0),
    Parameter("cat_l2", float, 10.0, REGULARISATION, "L2 penalty in splits on categories.", 0),
    Parameter("min_data_per_group", int, 100, REGULARISATION, "Fewest rows in a group of categories.", 1, 2**31 - 1),
    Parameter(
        "scale_pos_weight",
        float,
        1.0,
        CLASSES,
        "Weight of the positive class.",
        0,
        low_open=True,
        aliases=("pos_weight",),
    ),
    Parameter(
        "is_unbalance",
        bool,
        False,
        CLASSES,
        "Let LightGBM weight the classes by their frequency.",
        aliases=("unbalance", "is_unbalanced", "unbalanced_sets"),
    ),
    Parameter(
        "class_weight",
        str,
        None,
        CLASSES,
        "Weight the rows so that both classes count alike.",
        choices=("none", "balanced"),
    ),
)

BY_NAME: Mapping[str, Parameter] = {parameter.name: parameter for parameter in PARAMETERS}


#: How alike two names must be for one to be suggested for the other: one that means something else is no help.
_ALIKE = 0.78


def parse_param(name: object, value: object) -> tuple[str, Value]:
    """Return a parameter's name and its value, converted to the parameter's type.

    Raises:
        InputError: There is no such parameter (the message suggests the nearest), or the value is not allowed.
    """
    parameter = BY_NAME.get(str(name))
    if parameter is None:
        raise InputError(f"there is no parameter {str(name)!r}{suggestion(str(name))}")
    return parameter.name, parameter.parse(value)


def suggestion(name: str) -> str:
    """Return ``; did you mean 'x'?`` for the parameter that ``name`` most likely stands for."""
    near = nearest_param(name, BY_NAME)
    return f"; did you mean {near!r}?" if near else ""


def nearest_param(name: str, among: Iterable[str]) -> str | None:
    """Return which of some names of parameters or options, or of their aliases, ``name`` most likely is, or None."""
    names = {_normal(one): one for one in among}
    aliases = {alias: parameter.name for parameter in PARAMETERS for alias in parameter.aliases}
    names = {alias: names[name] for alias, name in aliases.items() if name in names} | names
    near = nearest(_normal(name), names, cutoff=_ALIKE)
    return names[near] if near is not None else None


def _normal(name: str) -> str:
    return name.strip().lower().lstrip("-").replace("-", "_")


def _plain(bound: float | None) -> str | None:
    return None if bound is None else f"{bound:.0f}" if bound == int(bound) else repr(bound)


def shown_value(value: object, quote: bool = True) -> str:
    """Return a value as messages and names of runs show it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str) and quote:
        return repr(value)
    return str(value)
