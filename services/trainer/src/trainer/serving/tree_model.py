"""Answers requests with one of the trainer's own models, taken apart: bytes to numbers, trees, and bytes again.

Without pandas, scikit-learn or MLflow, which take 99 % of the time of a served prediction, and most of its memory.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from trainer.serving.body import RequestError, Table
from trainer.serving.booster import Booster
from trainer.serving.matrix import build_matrix
from trainer.serving.model_parts import ModelParts, read_parts
from trainer.serving.own_model import JSON, OwnModel, Scored
from trainer.serving.served_answers import served_answers
from trainer.serving.unseen_texts import UnseenTexts
from trainer.training.hard_rows import ROWS, answers_digest, hard_rows
from trainer.util.errors import TrainerError

if TYPE_CHECKING:
    from numpy.typing import NDArray


class TreeModel(OwnModel):
    """One of the trainer's own models, without what it was fitted with."""

    def __init__(self, parts: ModelParts) -> None:
        self._booster = Booster(parts.trees, parts.iterations)
        if self._booster.width != len(parts.order):
            raise ValueError("the trees take another number of columns")
        # Without the text, which LightGBM has read.
        self.parts = replace(parts, trees="")
        self.answers = served_answers(parts)
        self.unseen = UnseenTexts(parts.order, parts.codes, parts.gaps)

    @classmethod
    def read(cls, folder: Path) -> TreeModel:
        """Read the model in a folder.

        Raises:
            NotOwnError: It is not built as the trainer builds them.
            TrainerError: LightGBM cannot read its trees.
        """
        return cls(read_parts(folder))

    def predict(self, table: Table) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Return what the trees say of each row, and the codes of the classes; none where a number is predicted.

        Raises:
            RequestError: The table is none that the model takes.
        """
        found = self.score(table)
        return found.scores, found.codes

    def score(self, table: Table) -> Scored:
        """Return what the trees say."""
        matrix = build_matrix(self.parts, table)
        if not len(matrix):
            raise RequestError("the request holds no rows", "INVALID_PARAMETER_VALUE")
        unseen = self.unseen.count(matrix, table.columns)
        scores = self._booster.predict(matrix)
        return Scored(scores, self.answers.codes(scores), unseen)

    def answers_digest(self) -> str:
        """Return the digest of what the trees say to the hard rows, after they have answered their own example.

        Raises:
            TrainerError: They do not answer it.
        """
        if (example := self.parts.example) is not None:
            reply = self.answer(example, JSON, "")
            if reply.status != 200:
                raise TrainerError(f"it does not predict its own example: {reply.body.decode()}")
            self.unseen = UnseenTexts(self.parts.order, self.parts.codes, self.parts.gaps)
        scores = self._booster.prove_blocks(build_matrix(self.parts, Table(hard_rows(self.parts.ranges), ROWS)))
        return answers_digest(scores, self.answers.codes(scores))

    def classes(self, codes: NDArray[np.int64]) -> NDArray[Any]:
        """Return the classes that codes stand for, as the model itself answers."""
        labels = (0, 1) if self.parts.task == "binary" else self.parts.classes
        classes: NDArray[Any] = np.array(labels)[codes]
        return classes
