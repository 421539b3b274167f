"""Requests to the models of others that MLflow's scoring server would read wrongly without a word."""

from __future__ import annotations

import json

import pytest
from trainer.serving.mlflow_requests import wrong

TWICE = "column 'a' appears more than once; columns need names of their own"
SHORT = "row 2 has 1 field, the header 2; complete it, or remove it"


@pytest.mark.parametrize(
    ("header", "rows", "says"),
    [
        (["a", "b"], [[1, 2], [3, 4]], None),
        (["a", "b"], [[1, 2], [3]], SHORT),
        (["a", "a"], [[1, 2], [3, 4]], TWICE),
    ],
)
def test_uneven_and_repeated_are_refused(header: list[str], rows: list[list[int]], says: str | None) -> None:
    split = json.dumps({"dataframe_split": {"columns": header, "data": rows}})
    assert wrong(split.encode(), is_csv=False) == says
    lines = "\n".join([",".join(header), *(",".join(map(str, row)) for row in rows)])
    assert wrong(lines.encode(), is_csv=True) == says


def test_what_is_no_table_is_left_to_mlflow() -> None:
    for body in (b"", b"{}", b"[1]", b'{"dataframe_split": {"columns": 1, "data": []}}'):
        assert wrong(body, is_csv=False) is None


def test_other_encoding_is_refused() -> None:
    assert wrong("é".encode("latin-1"), is_csv=True) == "the request is not UTF-8 text (byte 0)"
