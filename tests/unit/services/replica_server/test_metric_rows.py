"""services/mlflow: metrics as rows of the database. The database's part: tests/integration/test_stored_both_ways.py."""

from __future__ import annotations

import pytest
from mlflow.entities import Metric
from replica_server.patches.metric_rows import LARGEST, arrays, latest, stored

NOW = 1_790_000_000_000


def test_values_are_stored_as_mlflow_stores_them() -> None:
    """NaN is 0 with a mark, an infinity the largest number, and 0 has no sign."""
    values = [float("nan"), float("inf"), float("-inf"), -0.0, 5e-324]
    rows = stored([Metric("a", value, NOW, 1) for value in values])
    kept = [(0.0, True), (LARGEST, False), (-LARGEST, False), (0.0, False), (5e-324, False)]
    # By its text, 0.0 is not -0.0.
    assert repr(rows) == repr([("a", value, NOW, 1, nan) for value, nan in kept])


@pytest.mark.parametrize(
    "metric",
    [
        Metric("", 1.0, NOW, 0),
        Metric('a"b', 1.0, NOW, 0),
        Metric("a,b", 1.0, NOW, 0),
        Metric("../a", 1.0, NOW, 0),
        Metric("k" * 251, 1.0, NOW, 0),
        Metric("a", 1, NOW, 0),
        Metric("a", 1.0, -1, 0),
        Metric("a", 1.0, NOW, 0.5),  # type: ignore[arg-type]
        Metric(None, 1.0, NOW, 0),  # type: ignore[arg-type]
    ],
)
def test_what_mlflow_may_refuse_is_left_to_it(metric: Metric) -> None:
    assert stored([Metric("a", 1.0, NOW, 0), metric]) is None


def test_latest_is_by_step_time_and_value() -> None:
    """Of those that are equal in all three the first one stays: NaN is 0 there."""
    rows = [
        ("b", 2.0, NOW, 1, False),
        ("b", 3.0, NOW, 1, False),
        ("b", 9.0, NOW + 1, 0, False),
        ("a", 0.0, NOW, 0, True),
        ("a", 0.0, NOW, 0, False),
    ]
    assert latest(rows) == [("a", 0.0, NOW, 0, True), ("b", 3.0, NOW, 1, False)]


def test_columns_are_texts_of_arrays() -> None:
    rows = [("a b", 0.1, NOW, -1, False), ("Größe", 5e-324, NOW, 2, True)]
    assert arrays(rows, "last_") == {
        "last_keys": '{"a b","Größe"}',
        "last_values": "{0.1,5e-324}",
        "last_timestamps": f"{{{NOW},{NOW}}}",
        "last_steps": "{-1,2}",
        "last_nans": "{False,True}",
    }
