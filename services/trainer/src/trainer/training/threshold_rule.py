"""How the decision threshold is chosen: by a rule on the validation rows, or given as a number."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from trainer.util.errors import InputError, TrainerError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

EXPECTED = "max-f1, precision>=SHARE or recall>=SHARE (above 0, up to 1), or a number from 0 to 1"


@dataclass(frozen=True)
class ThresholdRule:
    """A rule for the threshold.

    ``max-f1`` takes the highest F1; ``precision`` the highest recall with at least that precision; ``recall`` the
    highest precision with at least that recall; ``fixed`` the value itself. Of equals, the highest threshold.
    """

    kind: Literal["max-f1", "precision", "recall", "fixed"] = "max-f1"
    value: float = 0.0

    def __str__(self) -> str:
        """Return the rule as it is written on the command line."""
        if self.kind == "max-f1":
            return self.kind
        number = repr(self.value).removesuffix(".0")
        return number if self.kind == "fixed" else f"{self.kind}>={number}"

    def choose(
        self, target: NDArray[np.int64], probability: NDArray[np.float64], weight: NDArray[np.float64] | None = None
    ) -> float:
        """Return the threshold for these rows; at or above it a row is called positive.

        Args:
            target: (rows,) classes, 0 and 1, of both kinds.
            probability: (rows,) scores of the positive class.
            weight: (rows,) positive weights; None where each row counts once.

        Raises:
            TrainerError: No threshold reaches the precision on these rows.
        """
        import numpy as np

        from trainer.training import metrics

        if self.kind == "fixed":
            return self.value
        if self.kind == "max-f1":
            return metrics.best_f1_threshold(target, probability, weight)
        scores, precision, recall = metrics.by_threshold(target, probability, weight)
        wanted, other = (precision, recall) if self.kind == "precision" else (recall, precision)
        allowed = wanted >= self.value
        if not allowed.any():
            raise TrainerError(
                f"--threshold {self}: no threshold reaches that on the {len(target):,} validation rows;"
                f" the highest {self.kind} there is {wanted.max():.4f}"
            )
        return float(scores[allowed][np.argmax(other[allowed])])


def parse_threshold_rule(text: str) -> ThresholdRule:
    """Return the rule that a text stands for.

    Raises:
        InputError: The text is no rule, or its number is out of range.
    """
    plain = "".join(text.split()).lower()
    if plain == "max-f1":
        return ThresholdRule()
    found = re.fullmatch(r"(?:(precision|recall)>=)?(\d+(?:\.\d*)?|\.\d+)(e-?\d+)?", plain, re.ASCII)
    if found is not None:
        value = float(found[2] + (found[3] or ""))
        if found[1] is None and value <= 1:
            return ThresholdRule("fixed", value)
        if found[1] is not None and 0 < value <= 1:
            return ThresholdRule("precision" if found[1] == "precision" else "recall", value)
    raise InputError(f"--threshold: {text!r} is not allowed; it must be {EXPECTED}")
