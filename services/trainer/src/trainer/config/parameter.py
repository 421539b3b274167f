"""One LightGBM parameter: what it may be, in words for people, and as a check of what somebody wrote.

This module imports no third-party package, so that the command line starts at once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from trainer.config.boolean_words import FLAGS
from trainer.util.errors import InputError

Value = bool | int | float | str | None


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


def shown_value(value: object, quote: bool = True) -> str:
    """Return a value as messages and names of runs show it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str) and quote:
        return repr(value)
    return str(value)


def _plain(bound: float | None) -> str | None:
    return None if bound is None else f"{bound:.0f}" if bound == int(bound) else repr(bound)
