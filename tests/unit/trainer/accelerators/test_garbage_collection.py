"""The collector is out of the way of the command line's imports and of the interpreter's end."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = pytest.mark.process


def test_command_line_sets_the_collector_up() -> None:
    code = (
        "import atexit, gc\n"
        "atexit.register(lambda: print(gc.get_threshold()[0], gc.get_freeze_count() > 0))\n"
        "from trainer.cli.main import main\n"
        "main(['--version'])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    # What is registered first runs last: by then everything is frozen.
    assert done.stdout.splitlines()[-1] == "20000 True"


def test_sweeps_processes_import_without_it() -> None:
    """It is off during the imports; afterwards it is on, and leaves out what was imported."""
    code = (
        "import gc\n"
        "from trainer.sweeps import sweep\n"
        "first = sweep.PRELOAD.index('trainer.accelerators.imports_first') + 1\n"
        "[__import__(name) for name in sweep.PRELOAD[:first]]\n"
        "print(gc.isenabled())\n"
        "[__import__(name) for name in sweep.PRELOAD[first:]]\n"
        "print(gc.isenabled(), gc.get_freeze_count() > 100_000)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["False", "True True"]
