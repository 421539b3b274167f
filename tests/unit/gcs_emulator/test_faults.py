"""A fault hits the requests that it names, as often as it says."""

from __future__ import annotations

import pytest
from gateway.faults import Faults, parse


def test_a_fault_hits_as_often_as_it_says() -> None:
    faults = Faults()
    faults.add(parse({"kind": "status", "count": 2, "method": "POST", "path": "uploadType=multipart"}))
    path = "/upload/storage/v1/b/bucket/o?uploadType=multipart"
    assert faults.take("GET", path) is None
    assert faults.take("POST", "/upload/storage/v1/b/bucket/o?uploadType=resumable") is None
    assert [faults.take("POST", path) is not None for _ in range(3)] == [True, True, False]
    assert faults.listed() == []


def test_a_fault_lets_some_requests_pass_before() -> None:
    faults = Faults()
    faults.add(parse({"kind": "status", "method": "PUT", "skip": 1}))
    assert [faults.take(method, "/") is not None for method in ("PUT", "GET", "PUT", "PUT")] == [
        False,
        False,
        True,
        False,
    ]


def test_clearing_removes_all() -> None:
    faults = Faults()
    faults.add(parse({"kind": "delay"}))
    faults.clear()
    assert faults.take("GET", "/") is None


@pytest.mark.parametrize(
    "document", [[], {}, {"kind": "explode"}, {"kind": "slow", "speed": 1}, {"kind": "delay", "path": "["}]
)
def test_what_is_no_fault_is_refused(document: object) -> None:
    with pytest.raises(ValueError, match=r"fault has the fields|kind is one of|are regular expressions"):
        parse(document)


@pytest.mark.parametrize(
    "wrong", [{"count": "two"}, {"path": 1}, {"method": None}, {"status": 503.5}, {"seconds": "1"}, {"skip": [1]}]
)
def test_field_of_another_type_is_refused_by_name(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(wrong))} cannot be"):
        parse({"kind": "status"} | wrong)


def test_numbers_and_the_absence_of_one_are_taken() -> None:
    assert parse({"kind": "delay", "seconds": 1}).seconds == parse({"kind": "delay", "seconds": 1.0}).seconds
    assert parse({"kind": "status", "retry_after": None}).retry_after is None
