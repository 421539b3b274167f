"""What a served model answers for its scores, as JSON: an answer for each task."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from trainer.config.task import Label, TaskName
from trainer.serving.body import RequestError

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Answering(Protocol):
    """What the answers of a model depend on."""

    @property
    def task(self) -> TaskName:
        """What is predicted."""

    @property
    def classes(self) -> tuple[Label, ...]:
        """The classes of the target column, in the order of their codes."""

    @property
    def threshold(self) -> float | None:
        """From which probability on a row is of the second of two classes."""


class ServedAnswers(ABC):
    """The answers of a model. ``outputs`` are what a request may ask for, the usual first."""

    outputs: tuple[str, ...] = ("class", "probability")

    @abstractmethod
    def __init__(self, parts: Answering) -> None:
        """Take what the model's parts say of its answers."""

    @abstractmethod
    def codes(self, scores: NDArray[np.float64]) -> NDArray[np.int64]:
        """Return the code of each row's class; none where there are no classes."""

    @abstractmethod
    def predictions(self, scores: NDArray[np.float64], codes: NDArray[np.int64], params: Mapping[str, Any]) -> str:
        """Return the predictions as JSON's list, of the scores or of the codes of the classes."""

    @abstractmethod
    def details(self, scores: NDArray[np.float64]) -> dict[str, Any]:
        """Return what is told beside the predictions where probabilities are asked for."""

    def counted(self, scores: NDArray[np.float64]) -> NDArray[np.float64] | None:
        """Return the probability of each row that monitoring counts: of the positive class, or of the called one."""
        return scores

    def check(self, params: Mapping[str, Any]) -> bool:
        """Tell whether probabilities are asked for; other parameters are ignored, as MLflow ignores them.

        Raises:
            RequestError: Something is asked for that there is not.
        """
        output = params.get("output", self.outputs[0])
        if output not in self.outputs:
            allowed = " or ".join(f'"{name}"' for name in self.outputs)
            raise RequestError(
                f"params.output is {str(output)[:100]!r}; it must be {allowed}", "INVALID_PARAMETER_VALUE"
            )
        return bool(output == "probability")


class _TwoClasses(ServedAnswers):
    def __init__(self, parts: Answering) -> None:
        assert parts.threshold is not None  # noqa: S101 - a model of two classes has one
        self._threshold = parts.threshold
        # How the classes are written, by whether the threshold is reached: as 0 and 1, and as the target had them.
        self._words, self._original = _words((0, 1)), _words(parts.classes)

    def codes(self, scores: NDArray[np.float64]) -> NDArray[np.int64]:
        return (scores >= self._threshold).astype(np.int64)

    def check(self, params: Mapping[str, Any]) -> bool:
        if (labels := params.get("labels", "codes")) not in ("codes", "original"):
            raise RequestError(
                f'params.labels is {str(labels)[:100]!r}; it must be "codes" or "original"', "INVALID_PARAMETER_VALUE"
            )
        return super().check(params)

    def predictions(self, scores: NDArray[np.float64], codes: NDArray[np.int64], params: Mapping[str, Any]) -> str:
        del scores
        words = self._original if params.get("labels") == "original" else self._words
        return ", ".join(words[codes].tolist())

    def details(self, scores: NDArray[np.float64]) -> dict[str, Any]:
        return {"probabilities": scores.tolist(), "threshold": self._threshold}


class _SeveralClasses(ServedAnswers):
    def counted(self, scores: NDArray[np.float64]) -> NDArray[np.float64] | None:
        highest: NDArray[np.float64] = scores.max(axis=1)
        return highest

    def __init__(self, parts: Answering) -> None:
        self._classes, self._words = list(parts.classes), _words(parts.classes)

    def codes(self, scores: NDArray[np.float64]) -> NDArray[np.int64]:
        codes: NDArray[np.int64] = scores.argmax(axis=1).astype(np.int64)
        return codes

    def predictions(self, scores: NDArray[np.float64], codes: NDArray[np.int64], params: Mapping[str, Any]) -> str:
        del scores, params
        return ", ".join(self._words[codes].tolist())

    def details(self, scores: NDArray[np.float64]) -> dict[str, Any]:
        return {"probabilities": scores.tolist(), "classes": self._classes}


class _Numbers(ServedAnswers):
    outputs = ("number",)

    def counted(self, scores: NDArray[np.float64]) -> NDArray[np.float64] | None:
        del scores
        return None

    def __init__(self, parts: Answering) -> None:
        del parts

    def codes(self, scores: NDArray[np.float64]) -> NDArray[np.int64]:
        del scores
        return np.empty(0, dtype=np.int64)

    def predictions(self, scores: NDArray[np.float64], codes: NDArray[np.int64], params: Mapping[str, Any]) -> str:
        del codes, params
        return ", ".join(map(repr, scores.tolist()))

    def details(self, scores: NDArray[np.float64]) -> dict[str, Any]:
        del scores
        return {}


def _words(classes: Sequence[Label]) -> NDArray[np.str_]:
    return np.array([json.dumps(label) for label in classes])


_ANSWERS: Mapping[TaskName, type[ServedAnswers]] = {
    "binary": _TwoClasses,
    "multiclass": _SeveralClasses,
    "regression": _Numbers,
}


def served_answers(parts: Answering) -> ServedAnswers:
    """Return what a model answers."""
    return _ANSWERS[parts.task](parts)
