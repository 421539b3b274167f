"""A pool's spare process: it calls one function, a task takes the answer over, and it ends with the command."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest

pytestmark = [pytest.mark.process, pytest.mark.skipif(sys.platform != "linux", reason="forks on Linux only")]

#: Two processors are there, whatever the machine has. The pool's server is this program's own.
PROGRAM = """
import gc, os, sys, threading, time
import engine_tasks
from trainer.parallel import spare_process
from trainer.parallel.pool import ProcessPool
spare_process.available_cpus = lambda: {cpus}
pool = ProcessPool(1, ["trainer.accelerators.imports_first", "trainer.parallel.spare_process"])
with spare_process.warmed_up(pool) as process:
{body}
"""
ASK = """
    begun = process.begin({function})
    [outcome] = pool.map(engine_tasks.take_over, [begun])
    print(repr(outcome.answer), repr(outcome.error), os.getpid())
"""
BEGIN = """
    process.begin(engine_tasks.note_and_wait)
    while not os.path.exists("pid"):
        time.sleep(0.01)
"""


class Program:
    """A program of its own, and all that it has started."""

    def __init__(self, body: str, folder: Path, cpus: int = 2) -> None:
        self.mark = f"SPARE_TEST={uuid.uuid4().hex}"
        name, _, value = self.mark.partition("=")
        environment = os.environ | {name: value, "PYTHONPATH": str(Path(__file__).parent)}
        program = PROGRAM.format(cpus=cpus, body=body)
        self.process = subprocess.Popen(
            [sys.executable, "-c", program], cwd=folder, env=environment, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def said(self) -> str:
        """Return what it has printed, once it has ended."""
        out, error = self.process.communicate(timeout=60)
        assert error == ""
        return out

    def processes(self) -> list[int]:
        """Return those that run, of it and of what it has started."""
        found = []
        for environ in Path("/proc").glob("[0-9]*/environ"):
            try:
                if self.mark.encode() in environ.read_bytes():
                    found.append(int(environ.parent.name))
            except OSError:  # it has ended meanwhile
                continue
        return found

    def assert_all_end(self) -> None:
        """Wait for the end of all of them."""
        deadline = time.monotonic() + 30
        while self.processes():
            assert time.monotonic() < deadline, self.processes()
            time.sleep(0.05)


def test_task_takes_the_answer_over(tmp_path: Path) -> None:
    program = Program(ASK.format(function="engine_tasks.own_process_id"), tmp_path)
    answer, error, own = program.said().split()
    assert error == "None"
    assert int(answer) not in (int(own), program.process.pid)
    program.assert_all_end()


def test_its_error_is_the_tasks(tmp_path: Path) -> None:
    said = Program(ASK.format(function="engine_tasks.refuse"), tmp_path).said()
    assert said.startswith("None InputError('no good')")


def test_its_death_is_the_tasks_error(tmp_path: Path) -> None:
    said = Program(ASK.format(function="engine_tasks.die"), tmp_path).said()
    assert "TaskDiedError('the process of the fit died" in said


def test_it_has_a_garbage_collector(tmp_path: Path) -> None:
    """The pool's server has it off while it imports."""
    assert Program(ASK.format(function="gc.isenabled"), tmp_path).said().startswith("True None")


def test_unused_one_ends_with_the_block(tmp_path: Path) -> None:
    program = Program("    pass", tmp_path)
    assert program.said() == ""
    program.assert_all_end()


def test_running_one_ends_with_the_block(tmp_path: Path) -> None:
    program = Program(BEGIN, tmp_path)
    assert program.said() == ""
    program.assert_all_end()


def test_it_ends_with_a_killed_command(tmp_path: Path) -> None:
    program = Program(f"{BEGIN}    print(flush=True)\n    threading.Event().wait()", tmp_path)
    assert program.process.stdout is not None
    program.process.stdout.readline()
    program.process.kill()
    program.process.communicate()
    program.assert_all_end()


def test_one_processor_has_none(tmp_path: Path) -> None:
    assert Program("    print(process)", tmp_path, cpus=1).said() == "None\n"
