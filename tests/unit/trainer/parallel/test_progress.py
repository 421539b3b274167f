"""Progress: reports from LightGBM, live lines on a terminal, none elsewhere."""

from __future__ import annotations

import io
import os
import pty
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from trainer.config.variant import complete_params
from trainer.data.dataset import Dataset
from trainer.parallel import progress
from trainer.training.fit import fit_variant

from .. import programs


def test_lightgbm_reports_while_it_fits(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "INTERVAL", 0.0)
    seen: list[progress.Step] = []
    everything = threading.Event()

    def show(step: progress.Step) -> None:
        seen.append(step)
        if step.done == step.total:
            everything.set()

    with progress.own_address() as own, progress.listening(show, own) as address:
        assert address is not None
        reporter = progress.Reporter(address, 3, "a variant")
        chosen = complete_params({"n_estimators": 4, "num_leaves": 4})
        fitted = fit_variant(chosen, dataset, seed=1, validation_size=0.2, callbacks=[reporter])
        assert everything.wait(10)
    assert [(step.index, step.name, step.done, step.total) for step in seen] == [
        (3, "a variant", done, 4) for done in (1, 2, 3, 4)
    ]
    assert [step.loss for step in seen] == fitted.loss
    assert not Path(address).exists()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_failing_display_does_not_stop_a_command() -> None:
    """Display that fails keeps no command from ending."""

    def show(_step: progress.Step) -> None:
        raise RuntimeError("the terminal is gone")

    with progress.own_address() as own, progress.listening(show, own) as address:
        assert address is not None
        reporter = progress.Reporter(address, 0, "x")
        # More than the socket holds.
        for done in range(1_000):
            reporter.send(progress.Step(0, "x", done, 1_000, None))


def test_reports_are_rare_and_nobody_needs_to_listen(tmp_path: Path) -> None:
    class Counting(progress.Reporter):
        sent = 0

        def send(self, step: progress.Step) -> None:
            self.sent += 1
            super().send(step)

    class State:
        iteration, end_iteration = 0, 1_000
        evaluation_result_list = (("validation", "binary_logloss", 0.5, False),)

    reporter = Counting(str(tmp_path / "nobody"), 0, "x")
    for _ in range(1_000):
        reporter(State())
    assert 1 <= reporter.sent < 100


def test_display_counts_finished_variants() -> None:
    """Display shows running variants and counts finished ones."""
    written = io.StringIO()
    console = Console(file=written, force_terminal=True, width=120, legacy_windows=False)
    with progress.Display(console, total=3, noun="variants", done=1) as display:
        display.show(progress.Step(0, "[bold]odd name", 7, 20, 0.4321))
        display._progress.refresh()
        shown = written.getvalue()
        display.end(0)
        display.show(progress.Step(0, "[bold]odd name", 8, 20, 0.4))
        written.truncate(0)
        display._progress.refresh()
        after = written.getvalue()
    for word in ("[bold]odd name", "7/20", "loss 0.4321", "all variants", "1/3"):
        assert word in shown
    assert "odd name" not in after
    assert "2/3" in after


def test_sweep_on_a_terminal_has_live_lines(workdir: Path) -> None:
    """Sweep on a terminal has live lines and plain results."""
    leader, follower = pty.openpty()
    command = ["-m", "trainer", "sweep", "--grid", "num_leaves=4,5", "--n-estimators", "5"]
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "150"}
    with programs.start(command, cwd=workdir, env=environment, stderr=follower) as process:
        os.close(follower)
        written = b""
        while True:
            try:
                piece = os.read(leader, 65_536)
            except OSError:  # the other end is closed
                break
            if not piece:
                break
            written += piece
        out = process.communicate()[0]
    os.close(leader)
    text = written.decode()
    assert process.returncode == 0, text
    assert "all variants" in text
    assert "[2/2]" in text
    assert "\x1b" not in out
    assert "num_leaves=5" in out


def test_sweep_without_a_terminal_prints_plain_lines(trainer: Callable[..., Any], workdir: Path) -> None:
    answer = trainer("sweep", "--grid", "num_leaves=4,5", "--n-estimators", 5, "--jobs", 2)
    assert answer.code == 0, answer.err
    assert "\x1b" not in answer.err
    assert "all variants" not in answer.err
    assert [line[9:14] for line in answer.err.splitlines() if "[" in line] == ["[1/2]", "[2/2]"]
