"""A library is imported without the modules that it can do without; afterwards they are there as ever."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

pytestmark = pytest.mark.process


def said(program: str) -> list[str]:
    command = [sys.executable, "-c", textwrap.dedent(program)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=180)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


def test_distributed_does_without_them() -> None:
    """What it uses in their place works: memory for messages."""
    program = """
        from trainer.accelerators import optional_modules
        with optional_modules.without("numpy", "jinja2", "curses"):
            import distributed
        from distributed.protocol.utils import host_array
        print(type(host_array(3).obj).__name__)
        import numpy, jinja2, curses
        print(numpy.zeros(2).tolist(), jinja2.Template("{{ 1 + 1 }}").render())
    """
    assert said(program) == ["bytearray", "[0.0, 0.0] 2"]


def test_imported_module_stays() -> None:
    """So does one that is no longer hidden after a failed import."""
    program = """
        import json
        from trainer.accelerators import optional_modules
        try:
            with optional_modules.without("json", "csv"):
                import json as same
                import csv
        except ModuleNotFoundError as error:
            print(same is json, error.name)
        import csv
        print(csv.__name__)
    """
    assert said(program) == ["True csv", "csv"]
