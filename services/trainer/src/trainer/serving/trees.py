"""Answers requests with one of the trainer's own models: bytes, numbers, trees, bytes.

Without pandas, scikit-learn or MLflow, which take 99 % of the time of a served prediction, and most of its memory.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from trainer.serving.body import RequestError, Table, decoded, read_csv, read_json
from trainer.serving.booster import Booster
from trainer.serving.matrix import build_matrix
from trainer.serving.model_parts import ModelParts, read_parts
from trainer.serving.served_answers import served_answers
from trainer.serving.unseen import UnseenTexts
from trainer.training.hard_rows import ROWS, answers_digest, hard_rows
from trainer.util.errors import TrainerError

if TYPE_CHECKING:
    from numpy.typing import NDArray

_JSON, _CSV = "application/json", "text/csv"
_PARQUET, _ARROW = "application/vnd.apache.parquet", "application/vnd.apache.arrow.stream"
_TYPES = (_JSON, _CSV, _PARQUET, _ARROW)


@dataclass(frozen=True)
class Reply:
    """An answer: its status and its JSON; and of rows that were scored, the probabilities and the unknown texts.

    Two are equal when their status, JSON and unknown texts are.
    """

    status: int
    body: bytes
    scores: NDArray[np.float64] | None = field(default=None, compare=False)
    unseen: Mapping[str, int] | None = None


class TreeModel:
    """One of the trainer's own models, without what it was fitted with."""

    def __init__(self, parts: ModelParts) -> None:
        self._booster = Booster(parts.trees, parts.iterations)
        if self._booster.width != len(parts.order):
            raise ValueError("the trees take another number of columns")
        # Without the text, which LightGBM has read.
        self.parts = replace(parts, trees="")
        self._answers = served_answers(parts)
        #: The texts of the requests that the model does not know.
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
        scores, _ = self._scores(table)
        return scores, self._answers.codes(scores)

    def _scores(self, table: Table) -> tuple[NDArray[np.float64], Mapping[str, int]]:
        """Return what the trees say, and how many texts of each column the model does not know."""
        matrix = build_matrix(self.parts, table)
        if not len(matrix):
            raise RequestError("the request holds no rows", "INVALID_PARAMETER_VALUE")
        unseen = self.unseen.count(matrix, table.columns)
        return self._booster.predict(matrix), unseen

    def answers_digest(self) -> str:
        """Return the digest of what the trees say to the hard rows, after they have answered their own example.

        Raises:
            TrainerError: They do not answer it.
        """
        if (example := self.parts.example) is not None:
            reply = self.answer(example, _JSON, "")
            if reply.status != 200:
                raise TrainerError(f"it does not predict its own example: {reply.body.decode()}")
            self.unseen = UnseenTexts(self.parts.order, self.parts.codes, self.parts.gaps)
        scores = self._booster.prove_blocks(build_matrix(self.parts, Table(hard_rows(self.parts.ranges), ROWS)))
        return answers_digest(scores, self._answers.codes(scores))

    def classes(self, codes: NDArray[np.int64]) -> NDArray[Any]:
        """Return the classes that codes stand for, as the model itself answers."""
        labels = (0, 1) if self.parts.task == "binary" else self.parts.classes
        classes: NDArray[Any] = np.array(labels)[codes]
        return classes

    def answer(self, body: bytes, content_type: str, uri: str) -> Reply:
        """Return the answer to a request for predictions, whatever is in it."""
        try:
            table = _read(body, content_type)
            extra = self._answers.check(table.params)
            scores, unseen = self._scores(table)
        except RequestError as error:
            return refusal(error.status, error.code, error.message)
        predictions = self._answers.predictions(scores, table.params)
        if not extra:
            return Reply(200, b'{"predictions": [%b]}' % predictions.encode(), self._answers.counted(scores), unseen)
        more = {**self._answers.details(scores), "model_uri": uri}
        body = b'{"predictions": [%b], %b' % (predictions.encode(), json.dumps(more)[1:].encode())
        return Reply(200, body, self._answers.counted(scores), unseen)


def refusal(status: int, code: str, message: str) -> Reply:
    """Return the answer to a request that cannot be answered."""
    return Reply(status, json.dumps({"error_code": code, "message": message}).encode())


def _read(body: bytes, content_type: str) -> Table:
    kind, *parameters = (part.strip() for part in content_type.split(";"))
    if parameters:
        decoded(body)
        _check_parameters(parameters)
    if kind == _JSON:
        return read_json(body)
    if kind == _CSV:
        return read_csv(body)
    if kind in (_PARQUET, _ARROW):
        from trainer.serving.arrow_body import read_arrow, read_parquet

        return read_parquet(body) if kind == _PARQUET else read_arrow(body)
    decoded(body)
    raise RequestError(
        f"This predictor only supports the following content types: Types: {list(_TYPES)}. Got '{content_type}'.",
        "UNSUPPORTED_MEDIA_TYPE",
        415,
    )


def _check_parameters(parameters: list[str]) -> None:
    values = {key: value for key, _, value in (parameter.partition("=") for parameter in parameters)}
    if values.pop("charset", "utf-8").lower() != "utf-8":
        raise RequestError("The scoring server only supports UTF-8", "UNSUPPORTED_MEDIA_TYPE", 415)
    if values:
        message = f"Unrecognized content type parameters: {', '.join(values)}."
        raise RequestError(message, "UNSUPPORTED_MEDIA_TYPE", 415)
