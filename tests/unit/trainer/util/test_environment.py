"""Variables that hold for a while are as they were afterwards."""

from __future__ import annotations

import os

import pytest
from trainer.util.environment import environment


def test_variables_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SET", "before")
    monkeypatch.delenv("UNSET", raising=False)
    with environment({"SET": None, "UNSET": "now"}):
        assert "SET" not in os.environ
        assert os.environ["UNSET"] == "now"
        os.environ["SET"] = "changed inside"
    assert os.environ["SET"] == "before"
    assert "UNSET" not in os.environ


def test_variables_come_back_after_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SET", "before")

    def fail() -> None:
        with environment({"SET": "now"}):
            raise ValueError("inside")

    with pytest.raises(ValueError, match="inside"):
        fail()
    assert os.environ["SET"] == "before"
