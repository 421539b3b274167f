"""A token out of a file, for the server that serves a model."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from trainer.tracking.settings import use_token
from trainer.util.errors import InputError


@pytest.fixture(autouse=True)
def _no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    # Set first, so that what the test sets is taken away after it.
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "")


def test_token_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("mlr_a\n")
    use_token(tmp_path / "token")
    assert os.environ["MLFLOW_TRACKING_TOKEN"] == "mlr_a"


def test_token_of_the_environment_counts_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "mlr_mine")
    use_token(tmp_path / "none")
    assert os.environ["MLFLOW_TRACKING_TOKEN"] == "mlr_mine"


@pytest.mark.parametrize(("content", "said"), [(None, "cannot be read"), (b"\n", "is empty"), (b"\xff", "is no text")])
def test_unusable_file_is_one_line(tmp_path: Path, content: bytes | None, said: str) -> None:
    if content is not None:
        (tmp_path / "token").write_bytes(content)
    with pytest.raises(InputError, match=said):
        use_token(tmp_path / "token")
