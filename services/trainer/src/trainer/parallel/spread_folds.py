"""The models of a cross-validation, fitted side by side by an engine: one for each fold, and one of all rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any

from trainer.parallel.engine import Engine
from trainer.training.cross_validation import FoldFit, FoldWork, fit_all_rows, fit_fold

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

#: Stands for all rows, in the place of a fold's number.
_ALL = -1


class FoldsBySide:
    """Fits the models of a cross-validation on an engine.

    Args:
        engine: What runs them.
        tell: Called with a line where one starts again.
    """

    def __init__(self, engine: Engine, tell: Callable[[str], None]) -> None:
        self._engine, self._tell = engine, tell

    def __call__(self, work: FoldWork) -> tuple[list[FoldFit], Pipeline]:
        """Return what came of each fold, and the model of all rows.

        Raises:
            TrainerError: The estimator refuses, or workers were lost again and again.
        """
        folds: Sequence[int] = range(work.folds)
        if work.stops:
            fitted = self._fit(work, folds)
            last = self._fit(work.after([fitted[fold].rounds for fold in folds]), [_ALL])
        else:
            # The largest first: it would otherwise run alone at the end.
            fitted = last = self._fit(work, [_ALL, *folds])
        return [fitted[fold] for fold in folds], last[_ALL]

    def _fit(self, work: FoldWork, folds: Sequence[int]) -> dict[int, Any]:
        answers: dict[int, Any] = {}
        with closing(self._engine.map(_fit_one, folds, work, again=self._again)) as outcomes:
            for outcome in outcomes:
                if outcome.error is not None:
                    raise outcome.error
                answers[outcome.item] = outcome.answer
        return answers

    def _again(self, fold: int, reason: str) -> int:
        what = "the model of all rows" if fold == _ALL else f"fold {fold + 1}"
        self._tell(f"{reason}: {what} starts again on another worker")
        return fold


def _fit_one(fold: int, work: FoldWork) -> Any:
    if fold == _ALL:
        return fit_all_rows(work)
    return fit_fold(work, work.splits()[fold], [])
