"""The engine: outcomes, failures, deaths, and interrupts."""

from __future__ import annotations

import importlib
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from trainer.parallel import pool
from trainer.parallel.pool import ProcessPool
from trainer.util.errors import InputError

from ..conftest import warm_pool

pytestmark = pytest.mark.process


@pytest.fixture
def tasks(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return the module of tasks, under a name that the engine's processes can import it by."""
    monkeypatch.syspath_prepend(Path(__file__).parent)
    return importlib.import_module("engine_tasks")


@pytest.mark.parametrize("jobs", [1, 3])
def test_each_item_has_its_outcome(jobs: int, tasks: Any) -> None:
    outcomes = list(warm_pool(jobs).map(tasks.double, [5, 6, 7], 100))
    assert {outcome.index: outcome.answer for outcome in outcomes} == {0: 110, 1: 112, 2: 114}


def test_items_run_side_by_side(tasks: Any) -> None:
    """Items are worked off side by side in processes that stay."""
    answers = [outcome.answer for outcome in warm_pool(2).map(tasks.process_id, range(6))]
    assert len({*answers, os.getpid()}) == 3


def test_process_of_a_failure_takes_no_further_item(tasks: Any) -> None:
    outcomes = list(warm_pool(1).map(tasks.fail_at_two_with_process_id, [1, 2, 3]))
    assert outcomes[0].answer != outcomes[2].answer


def test_failure_does_not_disturb_the_others(tasks: Any) -> None:
    outcomes = {outcome.item: outcome for outcome in warm_pool(2).map(tasks.fail_at_two, [1, 2, 3])}
    assert (outcomes[1].answer, outcomes[3].answer) == (1, 3)
    assert isinstance(outcomes[2].error, InputError)
    assert str(outcomes[2].error) == "two is no good"


def test_death_does_not_disturb_the_others(tasks: Any) -> None:
    outcomes = {outcome.item: outcome for outcome in warm_pool(2).map(tasks.die_at_two, [1, 2, 3])}
    assert (outcomes[1].answer, outcomes[3].answer) == (1, 3)
    assert isinstance(outcomes[2].error, pool.TaskDiedError)


def test_interrupt_lets_tasks_tidy_up(tmp_path: Path, tasks: Any) -> None:
    """Interrupt lets tasks tidy up and starts no more."""

    def interrupt() -> None:
        while len(list(tmp_path.glob("started-*"))) < 2:
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    with pytest.raises(KeyboardInterrupt):
        list(warm_pool(2).map(tasks.wait_and_tidy_up, [1, 2, 3], tmp_path))
    assert sorted(path.name for path in tmp_path.glob("tidied-*")) == ["tidied-1", "tidied-2"]
    assert not (tmp_path / "started-3").exists()


def test_early_interrupt_leaves_no_process(tmp_path: Path) -> None:
    """Interrupt while the first process starts leaves none behind."""
    (tmp_path / "slow_import.py").write_text("import time; time.sleep(1)")
    (tmp_path / "program.py").write_text(
        """
import gc, multiprocessing, os, signal, threading, time
import engine_tasks
from trainer.parallel.pool import ProcessPool
from trainer.util.signals import interruptible

if __name__ == "__main__":
    pool = ProcessPool(1, ["slow_import"])
    pool.warm_up()
    threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
    try:
        with interruptible():
            list(pool.map(engine_tasks.double, [1], 2))
    except KeyboardInterrupt:
        print("interrupted", multiprocessing.active_children())
    gc.collect()
    # What was asked for is made once the imports are done.
    time.sleep(1.5)
"""
    )
    path = os.pathsep.join([str(tmp_path), str(Path(__file__).parent)])
    done = subprocess.run(
        [sys.executable, "program.py"], cwd=tmp_path, env={**os.environ, "PYTHONPATH": path}, capture_output=True,
        text=True, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "interrupted []\n", "")


@pytest.mark.parametrize(
    ("call", "awaited"),
    [
        ("ProcessPool(1).map(double, [1, 2], 0)", "."),
        ("ProcessPool(2).map(wait_and_tidy_up, [0, 1], Path())", "started-1"),
    ],
    ids=["between tasks", "in a task"],
)
def test_killed_parent_leaves_no_process(tmp_path: Path, call: str, awaited: str) -> None:
    """The parent is killed at the first outcome; its output stays open until the last of its processes is gone."""
    (tmp_path / "program.py").write_text(
        f"""
import os, signal, time
from pathlib import Path
from engine_tasks import double, wait_and_tidy_up
from trainer.parallel.pool import ProcessPool

if __name__ == "__main__":
    for outcome in {call}:
        while not Path({awaited!r}).exists():
            time.sleep(0.01)
        print("outcome", flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
"""
    )
    done = subprocess.run(
        [sys.executable, "program.py"], cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)},
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (-signal.SIGKILL, "outcome\n")
    assert (tmp_path / "tidied-1").exists() == (awaited == "started-1")


def test_on_macos_no_task_runs_in_a_forked_process(monkeypatch: pytest.MonkeyPatch) -> None:
    # Its system's proxy settings, which each HTTP client asks for, crash a process that was forked.
    monkeypatch.setattr(sys, "platform", "darwin")
    assert ProcessPool(1, ())._processes().get_start_method() == "spawn"


def test_interrupt_of_a_spawn_is_no_traceback(tmp_path: Path) -> None:
    """Interrupt of the terminal while a process that was not forked starts is no traceback."""
    (tmp_path / "program.py").write_text(
        """
import multiprocessing, os, signal, threading, time
import engine_tasks
from trainer.parallel.pool import ProcessPool
from trainer.util.signals import interruptible

if __name__ == "__main__":
    multiprocessing.get_all_start_methods = lambda: ["spawn"]
    threading.Timer(0.7, os.killpg, (0, signal.SIGINT)).start()
    try:
        with interruptible():
            list(ProcessPool(1).map(engine_tasks.double, [1], 2))
    except KeyboardInterrupt:
        print("interrupted", multiprocessing.active_children())
else:
    time.sleep(2)
"""
    )
    done = subprocess.run(
        [sys.executable, "program.py"], cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)},
        capture_output=True, text=True, timeout=60, start_new_session=True,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "interrupted []\n", "")


def test_interrupt_leaves_other_children_alone(tmp_path: Path, tasks: Any) -> None:
    """Interrupt leaves other children of the process alone."""
    # As a program has that runs a sweep by itself: children that it made the same way.
    other = multiprocessing.get_context("forkserver").Process(target=time.sleep, args=(60,))
    other.start()
    try:
        outcomes = warm_pool(2).map(tasks.wait_and_tidy_up, [0, 1], tmp_path)
        assert next(outcomes).item == 0
        deadline = time.monotonic() + 30
        while not (tmp_path / "started-1").exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        outcomes.close()
        assert (tmp_path / "tidied-1").exists()
        assert other.is_alive()
    finally:
        other.kill()
        other.join()


def test_closing_early_ends_the_tasks(tmp_path: Path, tasks: Any) -> None:
    outcomes = warm_pool(2).map(tasks.wait_and_tidy_up, [0, 1, 2], tmp_path)
    assert next(outcomes).item == 0
    outcomes.close()
    assert (tmp_path / "tidied-1").exists() or not (tmp_path / "started-1").exists()
    assert not (tmp_path / "started-2").exists()


def test_each_task_has_the_whole_grace_to_tidy_up(tmp_path: Path, tasks: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "GRACE", 4.0)
    interrupt_all(tasks, [0.0, 2.7], tmp_path)
    assert sorted(path.name for path in tmp_path.glob("tidied-*")) == ["tidied-0.0", "tidied-2.7"]


def test_task_that_does_not_end_in_time_is_killed(tmp_path: Path, tasks: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "GRACE", 0.5)
    before = set(multiprocessing.active_children())
    interrupt_all(tasks, [50.0], tmp_path)
    deadline = time.monotonic() + 10
    while set(multiprocessing.active_children()) - before:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def interrupt_all(tasks: Any, seconds: list[float], folder: Path) -> None:
    """Interrupt tasks that then take so long to tidy up."""

    def interrupt() -> None:
        while len(list(folder.glob("started-*"))) < len(seconds):
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    with pytest.raises(KeyboardInterrupt):
        list(warm_pool(len(seconds)).map(tasks.tidy_up_for, seconds, folder))
