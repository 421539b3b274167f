"""The collector is out of the way of the command line's imports and of the interpreter's end."""

from __future__ import annotations

import subprocess
import sys


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
