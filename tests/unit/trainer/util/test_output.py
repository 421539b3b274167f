"""One table for all commands: in colour on a terminal, plain columns elsewhere."""

from __future__ import annotations

import pytest
from trainer.util.output import print_rich_table, print_table

HEADS = ("", "variant", "score")
ROWS = [("*", "[bold]names may hold brackets", "0.5"), ("", "other", "0.25")]


def test_table_of_a_file_is_plain_columns(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(HEADS, ROWS, right=("score",))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["variant", "score"]
    assert lines[1] == "*  [bold]names may hold brackets  0.5"


def test_table_of_a_terminal_keeps_brackets(capsys: pytest.CaptureFixture[str]) -> None:
    print_rich_table(HEADS, ROWS, right=("score",), styles=["red", None])
    out = capsys.readouterr().out
    assert "[bold]names may hold brackets" in out
    # Numbers stand at the right of their column.
    assert " 0.5 " in out
    assert "0.25 " in out
