"""What this stack's server stores of runs and batches is what MLflow's own code stores (services/mlflow, patches)."""

from __future__ import annotations

import json
from pathlib import Path

from .stack import Stack

SCRIPT = Path(__file__).with_name("stored_both_ways.py").read_text()


def test_mlflow_stores_and_says_the_same(stack: Stack) -> None:
    """Runs and batches at random: the rows, the answers and the refusals are the same either way."""
    found = stack.exec("mlflow", "python3", "-c", SCRIPT, environment={"SEED": "1", "COUNT": "60"})
    assert json.loads(found.splitlines()[-1]) == {"compared": 60, "differences": []}
