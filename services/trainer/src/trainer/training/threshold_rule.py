"""How the decision threshold is chosen: by a rule on the validation rows, or given as a number."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from trainer.util.errors import InputError, TrainerError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

EXPECTED = (
    "max-f1, f2, fbeta:BETA, balanced-accuracy, cost:FP=COST,FN=COST, precision>=SHARE or recall>=SHARE (above 0, up to"
    " 1), or a number from 0 to 1"
)
_NUMBER = r"(?:\d+(?:\.\d*)?|\.\d+)(?:e-?\d+)?"


@dataclass(frozen=True)
class ThresholdRule:
    """A rule for the threshold.

    ``max-f1`` takes the highest F1, ``fbeta`` the highest F-beta (recall counts ``value`` times as much as precision),
    ``balanced-accuracy`` the highest mean of both classes' recalls, ``cost`` the lowest sum of ``costs``, which are
    those of a false positive and of a false negative; ``precision`` the highest recall with at least that precision;
    ``recall`` the highest precision with at least that recall; ``fixed`` the value itself. Of equals, the highest
    threshold.
    """

    kind: Literal["max-f1", "fbeta", "balanced-accuracy", "cost", "precision", "recall", "fixed"] = "max-f1"
    value: float = 0.0
    costs: tuple[float, float] = (1.0, 1.0)

    def __str__(self) -> str:
        """Return the rule as it is written on the command line."""
        if self.kind in ("max-f1", "balanced-accuracy"):
            return self.kind
        if self.kind == "cost":
            return f"cost:FP={_shown(self.costs[0])},FN={_shown(self.costs[1])}"
        if self.kind == "fixed":
            return _shown(self.value)
        return f"{self.kind}{':' if self.kind == 'fbeta' else '>='}{_shown(self.value)}"

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
        if self.kind not in ("precision", "recall"):
            scores, called, found = metrics.counts(target, probability, weight)
            # Nobody is called positive above the highest score.
            above = float(np.nextafter(scores[0], np.inf))
            if above <= 1:
                scores, called, found = np.append(above, scores), np.append(0, called), np.append(0, found)
            return float(scores[np.argmax(self._merit(called, found))])
        scores, precision, recall = metrics.by_threshold(target, probability, weight)
        wanted, other = (precision, recall) if self.kind == "precision" else (recall, precision)
        allowed = wanted >= self.value
        if not allowed.any():
            raise TrainerError(
                f"--threshold {self}: no threshold reaches that on the {len(target):,} validation rows;"
                f" the highest {self.kind} there is {wanted.max():.4f}"
            )
        return float(scores[allowed][np.argmax(other[allowed])])

    def _merit(self, called: NDArray[Any], found: NDArray[Any]) -> NDArray[np.float64]:
        """Return how good each threshold is, by how many rows it calls positive, and how many of them rightly."""
        false_positives, missed = called - found, found[-1] - found
        merit: NDArray[np.float64]
        if self.kind == "cost":
            merit = -(self.costs[0] * false_positives + self.costs[1] * missed)
        elif self.kind == "balanced-accuracy":
            merit = found / found[-1] - false_positives / false_positives[-1]
        else:
            # F-beta is (1 + b²) times this.
            merit = found / (called + self.value**2 * found[-1])
        return merit


def parse_threshold_rule(text: str) -> ThresholdRule:
    """Return the rule that a text stands for.

    Raises:
        InputError: The text is no rule, or its number is out of range.
    """
    plain = "".join(text.split()).lower()
    if plain == "max-f1":
        return ThresholdRule()
    if plain.replace("_", "-") == "balanced-accuracy":
        return ThresholdRule("balanced-accuracy")
    if (found := re.fullmatch(rf"f2|fbeta:({_NUMBER})", plain, re.ASCII)) is not None:
        beta = float(found[1] or 2)
        # Squares have to be numbers as well.
        if 1e-6 <= beta <= 1e6:
            return ThresholdRule("fbeta", beta)
    if (costs := _costs(plain)) is not None:
        return ThresholdRule("cost", costs=costs)
    if (found := re.fullmatch(rf"(?:(precision|recall)>=)?({_NUMBER})", plain, re.ASCII)) is not None:
        value = float(found[2])
        if found[1] is None and value <= 1:
            return ThresholdRule("fixed", value)
        if found[1] is not None and 0 < value <= 1:
            return ThresholdRule("precision" if found[1] == "precision" else "recall", value)
    raise InputError(f"--threshold: {text!r} is not allowed; it must be {EXPECTED}")


def _costs(plain: str) -> tuple[float, float] | None:
    """Return the costs of a false positive and of a false negative, which may come in either order."""
    pattern = rf"cost:(f[pn])=({_NUMBER}),(f[pn])=({_NUMBER})"
    found = re.fullmatch(pattern, plain, re.ASCII)
    if found is None or found[1] == found[3]:
        return None
    costs = {found[1]: float(found[2]), found[3]: float(found[4])}
    allowed = all(math.isfinite(cost) and 0 < cost <= 1e12 for cost in costs.values())
    return (costs["fp"], costs["fn"]) if allowed else None


def _shown(number: float) -> str:
    return repr(number).removesuffix(".0")
