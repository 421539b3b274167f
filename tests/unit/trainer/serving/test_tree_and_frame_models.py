"""The trainer's own models answer alike, taken apart into trees and asked by scikit-learn, to whatever comes."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from trainer.data.dataset import Dataset
from trainer.serving.champion import load
from trainer.serving.frame_model import frame_model
from trainer.serving.own_model import OwnModel

Ways = tuple[Callable[[bytes, str], tuple[int, Any]], Callable[[bytes, str], tuple[int, Any]]]


@pytest.fixture(scope="module")
def ways(saved: Path) -> Ways:
    """Return the answer of a model's trees to a request, and that of scikit-learn."""
    trees = load(str(saved)).trees
    frames = frame_model(mlflow.pyfunc.load_model(str(saved)))
    assert trees is not None
    assert frames is not None

    def way(model: OwnModel) -> Callable[[bytes, str], tuple[int, Any]]:
        def ask(body: bytes, kind: str) -> tuple[int, Any]:
            reply = model.answer(body, kind, "uri")
            return reply.status, json.loads(reply.body)

        return ask

    return way(trees), way(frames)


@pytest.fixture(scope="module")
def shown(dataset: Dataset) -> list[dict[str, Any]]:
    """Return a few rows; not the whole data, which Hypothesis would print."""
    return rows_of(dataset, 4)


def rows_of(dataset: Dataset, count: int) -> list[dict[str, Any]]:
    content: list[dict[str, Any]] = json.loads(dataset.test.features.head(count).to_json(orient="records"))
    return content


def same(ways: Ways, body: bytes, kind: str) -> tuple[int, Any]:
    """Ask both ways, hold one answer against the other, and return it."""
    own, general = (way(body, kind) for way in ways)
    assert own == general, body
    return own


_numbers = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False),
    st.integers(-(2**63), 2**64 - 1),
    st.sampled_from([0, -0.0, 1e-35, 5e-324, 1.7e308, 2**53 + 1]),
)
_texts = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
    st.sampled_from(["", "NA", "nan", "Nov", "nov", "true", " True ", "FALSE", "1", "1.0", "1e3", "+1"]),
    st.sampled_from(
        [" 2 ", "1_000", "\u0661\u0662", "0x10", "inf", "-Infinity", "None", "null", "1,5", "\u00a01", "desktop"]
    ),
)
_scalars = st.one_of(st.none(), st.booleans(), _numbers, _texts)
_nested = st.sampled_from([[1], {"a": 1}, []])


_names = st.sampled_from(["month", "weekend", "page_value", "region", "device", "traffic_source", "further", ""])


@pytest.mark.slow
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_json_of_any_values(ways: Ways, shown: list[dict[str, Any]], data: st.DataObject) -> None:
    form = data.draw(st.sampled_from(["dataframe_split", "dataframe_records", "inputs"]))
    values = _scalars | _nested
    rows = [dict(row) for row in shown[: data.draw(st.integers(1, 4))]]
    for _ in range(data.draw(st.integers(0, 4))):
        name, index = data.draw(_names), data.draw(st.integers(0, len(rows) - 1))
        # The same column for all rows: the rows of one request come from one program.
        for row in rows if data.draw(st.booleans()) else rows[index : index + 1]:
            row[name] = data.draw(values)
    for name in data.draw(st.lists(_names, max_size=1)):
        for row in rows:
            row.pop(name, None)
    names = list(dict.fromkeys(name for row in rows for name in row))
    body: Any = rows
    if form == "dataframe_split":
        body = {"columns": names, "data": [[row.get(name) for name in names] for row in rows]}
    elif form == "inputs":
        body = {name: [row.get(name) for row in rows] for name in names}
    same(ways, json.dumps({form: body}).encode(), "application/json")


@pytest.mark.slow
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_csv_of_any_fields(ways: Ways, shown: list[dict[str, Any]], data: st.DataObject) -> None:
    rows = [dict(row) for row in shown[: data.draw(st.integers(1, 4))]]
    for _ in range(data.draw(st.integers(0, 4))):
        row = rows[data.draw(st.integers(0, len(rows) - 1))]
        name = data.draw(st.sampled_from(list(row)))
        row[name] = data.draw(_scalars)
    for name in data.draw(st.lists(_names, max_size=1)):
        for row in rows:
            row.pop(name, None)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), dialect=data.draw(st.sampled_from(["excel", "unix"])))
    writer.writeheader()
    writer.writerows(rows)
    mark = b"\xef\xbb\xbf" if data.draw(st.booleans()) else b""
    same(ways, mark + text.getvalue().encode(), "text/csv")


_json = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=True) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.slow
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(form=st.sampled_from(["dataframe_split", "dataframe_records", "instances", "inputs", "other"]), content=_json)
def test_json_of_any_shape(ways: Ways, form: str, content: Any) -> None:
    same(ways, json.dumps({form: content}).encode(), "application/json")


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=st.binary(max_size=60) | st.text(max_size=60).map(lambda text: text.encode("utf-8", "surrogatepass")))
@pytest.mark.parametrize("kind", ["application/json", "text/csv", "text/plain", "application/json; charset=latin-1"])
def test_any_bytes(ways: Ways, kind: str, body: bytes) -> None:
    same(ways, body, kind)


@pytest.mark.parametrize(
    ("written", "number"),
    [
        *(("1_000", False), ("\u0661\u0662", False), ("TRUE", False), ("0x10", False), ("1,5", False), ("x", False)),
        *((" 2 ", True), ("+1", True), (".5", True), ("1e3", True), ("-inf", True), ("nan", True)),
    ],
)
def test_numbers_are_read_as_in_files(ways: Ways, dataset: Dataset, written: str, number: bool) -> None:
    """As ``trainer predict`` reads them, and not by pandas, which takes TRUE for 1."""
    row = rows_of(dataset, 1)[0] | {"page_value": written}
    text = io.StringIO()
    writer = csv.DictWriter(text, list(row))
    writer.writeheader()
    writer.writerow(row)
    says = f"column 'page_value' holds {written!r}; the model takes numbers"
    for body, kind in (
        (text.getvalue(), "text/csv"),
        (json.dumps({"dataframe_records": [row]}), "application/json"),
    ):
        status, content = same(ways, body.encode(), kind)
        assert (status == 200) == number
        assert number or (status, content["message"]) == (400, says)


def test_boolean_is_no_number(ways: Ways, dataset: Dataset) -> None:
    row = rows_of(dataset, 1)[0] | {"page_value": True}
    status, content = same(ways, json.dumps({"dataframe_records": [row]}).encode(), "application/json")
    assert (status, content["message"]) == (400, "column 'page_value' holds True; the model takes numbers")


def test_short_and_repeated_are_refused(ways: Ways, dataset: Dataset) -> None:
    row = rows_of(dataset, 1)[0]
    names, values = list(row), list(row.values())
    short = {"columns": names, "data": [values, values[:2]]}
    status, content = same(ways, json.dumps({"dataframe_split": short}).encode(), "application/json")
    width = len(names)
    assert (status, content["message"]) == (400, f"row 2 has 2 fields, the header {width}; complete it, or remove it")
    repeated, further = [*names, "month"], [*values, "Nov"]
    says = "column 'month' appears more than once; columns need names of their own"
    body = json.dumps({"dataframe_split": {"columns": repeated, "data": [further]}})
    status, content = same(ways, body.encode(), "application/json")
    assert (status, content["message"]) == (400, says)
    lines = f"{','.join(repeated)}\n{','.join(map(str, further))}\n"
    status, content = same(ways, lines.encode(), "text/csv")
    assert (status, content["message"]) == (400, says)
