"""Turns the trees' scores into a model's answers (class, probability, number): one class here for each task."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Answers(ABC):
    """The columns ``outputs`` for scores. ``positive`` is the second of two classes, which ``threshold`` decides on."""

    outputs: tuple[str, ...]
    threshold: float | None = None
    positive: Any = None

    @abstractmethod
    def columns(self, scores: NDArray[np.float64]) -> list[NDArray[Any]]:
        """Return the columns."""


class TwoClasses(Answers):
    """The probability of the second class, and the class at the model's threshold."""

    outputs = ("probability", "class")

    def __init__(self, threshold: float, labels: NDArray[Any]) -> None:
        self.threshold: float = threshold
        self._labels, self.positive = labels, labels[1].item()

    def columns(self, scores: NDArray[np.float64]) -> list[NDArray[Any]]:
        """Return probability and class."""
        return [scores, self._labels[(scores >= self.threshold).astype(np.intp)]]


class SeveralClasses(Answers):
    """The probability of each class, and the most probable one."""

    def __init__(self, labels: NDArray[Any]) -> None:
        self._labels = labels
        self.outputs = class_outputs(labels.tolist())

    def columns(self, scores: NDArray[np.float64]) -> list[NDArray[Any]]:
        """Return the probabilities and the class."""
        return [*np.ascontiguousarray(scores.T), self._labels[scores.argmax(axis=1)]]


class Numbers(Answers):
    """A number."""

    outputs = ("prediction",)

    def columns(self, scores: NDArray[np.float64]) -> list[NDArray[Any]]:
        """Return the numbers."""
        return [scores]


def class_outputs(classes: Sequence[Any]) -> tuple[str, ...]:
    """Return the columns of several classes: a probability for each, and the class."""
    return (*(f"probability_{label}" for label in classes), "class")


def answers_of(model: Any) -> Answers:
    """Return what a model of the trainer's answers; it decides by a threshold, or has classes, or predicts numbers."""
    if hasattr(model, "threshold"):
        return TwoClasses(float(model.threshold), np.asarray(model.classes_, dtype=np.int64))
    return SeveralClasses(np.asarray(model.classes_)) if hasattr(model, "predict_proba") else Numbers()
