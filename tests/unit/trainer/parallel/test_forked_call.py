"""A function in a fork of the process: its outcome comes back, and nothing of it stays behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from trainer.parallel.forked_call import call_in_fork, can_fork
from trainer.parallel.pool import TaskDiedError
from trainer.util.errors import InputError

pytestmark = [pytest.mark.process, pytest.mark.skipif(sys.platform != "linux", reason="forks on Linux only")]


def refuse() -> None:
    raise InputError("not these")


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def wait_for_ever() -> None:
    threading.Event().wait()


def alive(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] not in ("Z", "X")


def test_answer_comes_from_another_process() -> None:
    with call_in_fork(os.getpid) as running:
        assert running.result() != os.getpid()


def test_its_error_is_raised_here() -> None:
    with call_in_fork(refuse) as running, pytest.raises(InputError, match="not these"):
        running.result()


def test_its_death_is_one_line() -> None:
    with call_in_fork(die) as running, pytest.raises(TaskDiedError, match="the process of the fit died"):
        running.result()


def test_it_ends_with_the_block(tmp_path: Path) -> None:
    pid = tmp_path / "pid"

    def note() -> None:
        pid.write_text(str(os.getpid()))
        wait_for_ever()

    def interrupted() -> None:
        with call_in_fork(note):
            while not pid.exists() or not pid.read_text():
                time.sleep(0.01)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert not alive(int(pid.read_text()))


def test_it_ends_with_a_killed_parent() -> None:
    program = (
        "import os, threading\n"
        "from trainer.parallel.forked_call import call_in_fork\n"
        "def note():\n"
        "    print(os.getpid(), flush=True)\n"
        "    threading.Event().wait()\n"
        "with call_in_fork(note):\n"
        "    threading.Event().wait()\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    parent.kill()
    parent.communicate()
    deadline = time.monotonic() + 20
    while alive(child):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_other_threads_forbid_a_fork(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainer.parallel.forked_call.available_cpus", lambda: 2)
    monkeypatch.setattr("threading.active_count", lambda: 1)
    assert can_fork()
    monkeypatch.setattr("threading.active_count", lambda: 2)
    assert not can_fork()


def test_one_processor_gains_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("threading.active_count", lambda: 1)
    monkeypatch.setattr("trainer.parallel.forked_call.available_cpus", lambda: 1)
    assert not can_fork()
