"""The example notebook, and a run of it in a folder of its own with these variables."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from .stack import ROOT

FILE = ROOT / "examples" / "purchase_predict.ipynb"
NAME = "purchase_notebook"


def read() -> Any:
    """Returns the notebook as it is committed."""
    return nbformat.read(FILE, as_version=4)  # type: ignore[no-untyped-call]


def execute(folder: Path, variables: dict[str, str], before_cell: Callable[..., None] | None = None) -> Any:
    """Returns the notebook with its outputs, after a run from top to bottom.

    Args:
        folder: An empty one, in which it runs.
        variables: What it knows of the stack.
        before_cell: Called before each cell, with `cell` and `cell_index`.
    """
    notebook = read()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in variables.items():
            patch.setenv(name, value)
        patch.setenv("TMPDIR", str(folder))
        patch.setenv("MPLBACKEND", "module://matplotlib_inline.backend_inline")
        resources = {"metadata": {"path": str(folder)}}
        NotebookClient(notebook, timeout=120, resources=resources, on_cell_execute=before_cell).execute()
    assert not list(folder.glob("mlruns")), "it tracks beside the places that it names"
    return notebook
