"""Texts that a served model does not know are counted, and told of in one line now and then."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from trainer.data.dataset import Dataset
from trainer.serving import unseen_texts
from trainer.serving.tree_model import TreeModel
from trainer.serving.unseen_texts import UnseenTexts

NAN = float("nan")


def counted(matrix: list[list[float]], columns: dict[str, Any], now: list[float]) -> UnseenTexts:
    texts = UnseenTexts(("a", "x", "b"), {"a": {}, "b": {}}, frozenset({"", "NA"}), lambda: now[0])
    texts.count(np.array(matrix), columns)
    return texts


def test_line_comes_at_once_and_then_at_times() -> None:
    """The first unknown text is told of at once, those after it together, once the pause is over."""
    now = [5.0]
    matrix = [[NAN, NAN, 1.0], [NAN, 1.0, NAN], [0.0, 1.0, NAN]]
    columns = {"a": ["Juli", None, "May"], "x": [None, 1.0, 1.0], "b": ["k", "new", "NA"]}
    texts = counted(matrix, columns, now)
    told = (
        "of 3 rows, texts that the model does not know count as missing: a in 1, such as 'Juli'; b in 1, such as 'new'"
    )
    assert texts.due() == told
    texts.count(np.array(matrix), columns)
    assert texts.due() is None
    texts.count(np.array(matrix), columns)
    now[0] += unseen_texts.PAUSE
    line = texts.due()
    assert line is not None
    assert line.startswith("of 6 rows,")
    assert "a in 2, such as 'Juli'" in line
    assert texts.due() is None


@pytest.mark.parametrize("value", [None, NAN, "", " ", "NA"])
def test_missing_value_is_no_unknown_text(value: Any) -> None:
    texts = counted([[NAN, 1.0, 0.0]], {"a": [value], "x": [1.0], "b": ["k"]}, [0.0])
    assert texts.due() is None


@pytest.mark.parametrize("kind", ["application/json", "text/csv"])
def test_requests_are_counted(saved: Path, dataset: Dataset, kind: str) -> None:
    """A model's own rows are known; a text that none of them has is counted, in every form of request."""
    trees = TreeModel.read(saved)
    rows = dataset.train.features.head(20)
    for table, expected in ((rows, False), (rows.assign(month="Brumaire\nII"), True)):
        split = {"dataframe_split": json.loads(table.to_json(orient="split"))}
        body = json.dumps(split) if kind == "application/json" else table.to_csv(index=False)
        assert trees.answer(body.encode(), kind, "").status == 200
        line = trees.unseen.due()
        assert (line is not None) == expected
    assert line is not None
    assert "month in 20, such as 'Brumaire\\nII'" in line
    assert len(line.splitlines()) == 1
