"""The search space: which parameters a search varies, and between which values. Imports no optimiser."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer.config.parameter import Value
from trainer.config.parameter_names import parse_param, suggestion
from trainer.config.parameter_table import BY_NAME
from trainer.config.variant import complete_params, describe_params
from trainer.util import yaml_file
from trainer.util.errors import InputError

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

#: The space of a search without a file: the parameters that matter most, with thousands to millions of rows.
DEFAULT: Mapping[str, Any] = {
    "n_estimators": {"low": 100, "high": 600, "step": 50},
    "learning_rate": {"low": 0.01, "high": 0.2, "log": True},
    "num_leaves": {"low": 7, "high": 127, "log": True},
    "min_child_samples": {"low": 5, "high": 100, "log": True},
    "colsample_bytree": {"low": 0.5, "high": 1.0},
    "reg_lambda": {"low": 0.001, "high": 10.0, "log": True},
}
_KEYS = ("low", "high", "step", "log")
_EXAMPLE = "write such as {low: 10, high: 100} or a list of values"
#: Parameters that are checked together: every combination of their values must be allowed.
_JOINT = ("boosting_type", "subsample", "subsample_freq", "colsample_bytree")
_JOINT_CLASSES = ("is_unbalance", "class_weight", "scale_pos_weight")


@dataclass(frozen=True)
class Dimension:
    """One parameter's values: ``choices``, or the range from ``low`` to ``high``."""

    name: str
    choices: tuple[Value, ...] = ()
    low: float = 0.0
    high: float = 0.0
    step: float | None = None
    log: bool = False

    def distribution(self) -> BaseDistribution:
        """Return the values as Optuna takes them."""
        from optuna import distributions

        if self.choices:
            return distributions.CategoricalDistribution(self.choices)
        if BY_NAME[self.name].kind is int:
            return distributions.IntDistribution(int(self.low), int(self.high), step=int(self.step or 1), log=self.log)
        return distributions.FloatDistribution(self.low, self.high, step=self.step, log=self.log)

    def described(self) -> list[Value] | dict[str, Any]:
        """Return the values as a file describes them."""
        if self.choices:
            return ["none" if value is None else value for value in self.choices]
        whole = BY_NAME[self.name].kind is int
        ends = {name: int(end) if whole else end for name, end in (("low", self.low), ("high", self.high))}
        return {**ends, **({"step": self.step} if self.step is not None else {}), **({"log": True} if self.log else {})}

    @property
    def extremes(self) -> tuple[Value, ...]:
        """All choices, or both ends."""
        return self.choices or (parse_param(self.name, self.low)[1], parse_param(self.name, self.high)[1])

    @property
    def size(self) -> float:
        """How many values there are; infinity for a range of decimals."""
        if self.choices:
            return len(self.choices)
        if BY_NAME[self.name].kind is int or self.step is not None:
            return (self.high - self.low) // (self.step or 1) + 1
        return float("inf")


@dataclass(frozen=True)
class Space:
    """What a search varies (``dimensions``), and what it holds fixed."""

    dimensions: tuple[Dimension, ...]
    fixed: Mapping[str, Value] = field(default_factory=dict)

    @property
    def size(self) -> float:
        """How many different trials there can be; infinity where a dimension is a range of decimals."""
        return math.prod(dimension.size for dimension in self.dimensions)

    def described(self) -> dict[str, Any]:
        """Return the space as the mapping that describes it; see ``make_space``."""
        return {**{dimension.name: dimension.described() for dimension in self.dimensions}, **self.fixed}

    def distributions(self) -> dict[str, BaseDistribution]:
        """Return the dimensions as Optuna takes them."""
        return {dimension.name: dimension.distribution() for dimension in self.dimensions}


def load_space(path: Path | None, base: Mapping[str, Value]) -> Space:
    """Return the space that a YAML file describes, or the standard one without a file.

    Args:
        path: A mapping from parameter to a range, a list of values, or one value that holds for all trials.
        base: What the trials have in common.

    Raises:
        InputError: The file cannot be read or describes no space; the message names file, item and remedy.
    """
    if path is None:
        content: Any = {name: item for name, item in DEFAULT.items() if name not in base}
    else:
        content = yaml_file.read(path, "--space", "a YAML mapping from parameter to its values")
    return make_space(content, base, str(path) if path is not None else "the standard space")


def make_space(content: object, base: Mapping[str, Value], source: str = "space") -> Space:
    """Return the space that a mapping describes.

    Args:
        content: From parameter to a range, a list of values, or one value that holds for all trials.
        base: What the trials have in common.
        source: How messages name the mapping.

    Raises:
        InputError: It describes no space; the message names item and remedy.
    """
    if not isinstance(content, Mapping):
        raise InputError(
            f"{source}: holds {yaml_file.what(content)}; write a mapping such as 'num_leaves: {{low: 10, high: 100}}'"
        )
    dimensions: list[Dimension] = []
    fixed: dict[str, Value] = {}
    for name, item in content.items():
        place = yaml_file.place(source, content, name)
        where = f"{place}: {name}"
        try:
            if str(name).startswith("estimator"):
                raise InputError(f"{place}: a search tunes LightGBM's parameters; another estimator goes into a sweep")
            if str(name) not in BY_NAME:
                raise InputError(f"{place}: there is no parameter {str(name)!r}{suggestion(str(name))}")
            if isinstance(item, dict):
                dimensions.append(_range(str(name), item, where))
            elif isinstance(item, list):
                dimensions.append(_choices(str(name), item, where))
            else:
                fixed[str(name)] = parse_param(name, item)[1]
        except InputError as error:
            raise InputError(str(error) if str(error).startswith(place) else f"{place}: {error}") from None
    if not dimensions:
        raise InputError(f"{source}: varies nothing; add a parameter such as 'num_leaves: {{low: 10, high: 100}}'")
    space = Space(tuple(dimensions), fixed)
    _check_combinations(space, base, source)
    return space


def _range(name: str, item: dict[Any, Any], where: str) -> Dimension:
    parameter = BY_NAME[name]
    if parameter.kind not in (int, float):
        raise InputError(
            f"{where} has no range; list its values, such as [{', '.join(parameter.choices) or 'true, false'}]"
        )
    for key in item:
        if key not in _KEYS:
            raise InputError(f"{where}: {str(key)!r} is not one of {', '.join(_KEYS)}; {_EXAMPLE}")
    for key in ("low", "high"):
        if key not in item:
            raise InputError(f"{where}: {key} is missing; {_EXAMPLE}")
    ends = [float(parameter.parse(item[key], f"{where}: {key}") or 0) for key in ("low", "high")]
    log = item.get("log", False)
    if not isinstance(log, bool):
        raise InputError(f"{where}: log is {yaml_file.what(log)}; it must be true or false")
    if ends[0] >= ends[1]:
        raise InputError(f"{where}: low must be below high; for one value write '{name}: {item['high']}'")
    if log and ends[0] <= 0:
        raise InputError(f"{where}: low must be above 0 where log is true; raise low, or leave out log")
    step = item.get("step")
    if step is not None:
        whole = parameter.kind is int and isinstance(step, float) and step != int(step)
        if isinstance(step, bool) or not isinstance(step, (int, float)) or not 0 < step <= ends[1] - ends[0] or whole:
            kind = "an integer" if parameter.kind is int else "a number"
            raise InputError(f"{where}: step must be {kind} above 0, up to high - low")
        if log:
            raise InputError(f"{where}: step and log exclude each other; leave out one of them")
    return Dimension(name, low=ends[0], high=ends[1], step=step, log=log)


def _choices(name: str, items: list[Any], where: str) -> Dimension:
    if not items:
        raise InputError(f"{where}: lists no values; {_EXAMPLE}")
    values = [BY_NAME[name].parse(item, f"{where}: value {place}") for place, item in enumerate(items, start=1)]
    if len(set(values)) < len(values):
        raise InputError(f"{where}: lists a value twice; list each once")
    return Dimension(name, choices=tuple(values))


def _check_combinations(space: Space, base: Mapping[str, Value], place: str) -> None:
    """Refuse a space that allows a forbidden combination of values: now, and not after hours of trials."""
    for group in (_JOINT, _JOINT_CLASSES):
        varied = [dimension for dimension in space.dimensions if dimension.name in group]
        for values in itertools.product(*(dimension.extremes for dimension in varied)):
            chosen = dict(zip([dimension.name for dimension in varied], values, strict=True))
            try:
                complete_params(base, space.fixed, chosen)
            except InputError as error:
                raise InputError(f"{place}: allows {describe_params(chosen) or 'a combination'}: {error}") from None
