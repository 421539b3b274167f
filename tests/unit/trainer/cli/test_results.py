"""What is printed of results: complete, however narrow the terminal."""

from __future__ import annotations

from types import MappingProxyType

import click
import pytest
from trainer.cli import results
from trainer.runs.plan import TrainResult
from trainer.sweeps import sweep
from trainer.training.metrics import METRIC_NAMES

RUN_ID, NAME = "0123456789abcdef" * 2, "n_estimators=1000 learning_rate=0.01"


@pytest.mark.parametrize(("columns", "with_runs"), [(60, False), (80, False), (160, True)])
def test_sweep_cuts_no_figure_on_a_terminal(
    columns: int, with_runs: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("LINES", "25")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    figures = MappingProxyType({"validation_average_precision": 0.8123, **dict.fromkeys(METRIC_NAMES, 0.7456)})
    results.show_sweep(sweep.SweepResult("parent", None, (TrainResult(NAME, {}, RUN_ID, metrics=figures),)), None)
    table, _, rest = click.unstyle(capsys.readouterr().out).partition("best ")
    assert (table.count("0.7456"), "0.8123" in table, "…" in table) == (len(METRIC_NAMES), True, False)
    assert all(word in table for word in NAME.split())
    assert (RUN_ID in table, RUN_ID in rest) == (with_runs, True)
    # Narrower than the figures, the terminal itself breaks the lines.
    assert columns == 60 or max(map(len, table.splitlines())) <= columns
