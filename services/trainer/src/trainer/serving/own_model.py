"""Answers requests with one of the trainer's own models: reads the rows, has them scored, and writes the answer.

However such a model is scored (``tree_model``, ``frame_model``), requests are read and answered by the same rules.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from trainer.serving.body import RequestError, Table, decoded, read_csv, read_json
from trainer.serving.served_answers import ServedAnswers
from trainer.serving.unseen_texts import UnseenTexts

if TYPE_CHECKING:
    from numpy.typing import NDArray

JSON, CSV = "application/json", "text/csv"
_PARQUET, _ARROW = "application/vnd.apache.parquet", "application/vnd.apache.arrow.stream"
_TYPES = (JSON, CSV, _PARQUET, _ARROW)


@dataclass(frozen=True)
class Reply:
    """An answer: its status and its JSON; and of rows that were scored, the probabilities and the unknown texts.

    ``rows`` counts them; of numbers there are no probabilities. Two are equal when their status, JSON and unknown texts
    are.
    """

    status: int
    body: bytes
    scores: NDArray[np.float64] | None = field(default=None, compare=False)
    unseen: Mapping[str, int] | None = None
    rows: int = field(default=0, compare=False)


@dataclass(frozen=True)
class Scored:
    """What a model says of rows: probabilities or numbers, the codes of the classes, and the unknown texts by column.

    There are no codes where a number is predicted.
    """

    scores: NDArray[np.float64]
    codes: NDArray[np.int64]
    unseen: Mapping[str, int]


class OwnModel(ABC):
    """One of the trainer's own models. Any thread may use it."""

    #: What the model answers for its scores.
    answers: ServedAnswers
    #: The texts of the requests that the model does not know.
    unseen: UnseenTexts

    @abstractmethod
    def score(self, table: Table) -> Scored:
        """Return what the model says of each row.

        Raises:
            RequestError: The table is none that the model takes.
        """

    def answer(self, body: bytes, content_type: str, uri: str) -> Reply:
        """Return the answer to a request for predictions, whatever is in it."""
        try:
            table = _read(body, content_type)
            extra = self.answers.check(table.params)
            scored = self.score(table)
        except RequestError as error:
            return refusal(error.status, error.code, error.message)
        predictions = self.answers.predictions(scored.scores, scored.codes, table.params)
        content = b'{"predictions": [%b]}' % predictions.encode()
        if extra:
            more = {**self.answers.details(scored.scores), "model_uri": uri}
            content = b'{"predictions": [%b], %b' % (predictions.encode(), json.dumps(more)[1:].encode())
        return Reply(200, content, self.answers.counted(scored.scores), scored.unseen, len(scored.scores))


def refusal(status: int, code: str, message: str) -> Reply:
    """Return the answer to a request that cannot be answered."""
    return Reply(status, json.dumps({"error_code": code, "message": message}).encode())


def _read(body: bytes, content_type: str) -> Table:
    kind, *parameters = (part.strip() for part in content_type.split(";"))
    if parameters:
        decoded(body)
        _check_parameters(parameters)
    if kind == JSON:
        return read_json(body)
    if kind == CSV:
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
