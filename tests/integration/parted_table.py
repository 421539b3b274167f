"""A table in three parts, as a bucket holds it, and what a trainer makes of the same rows in one file on disk."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

from trainer.data import demo

from .stack import Stack

OPTIONS = ("--target", demo.TARGET, "--n-estimators", "10")
_ROWS, _PARTS = 1_500, 3


def metrics_of_one_file(stack: Stack, folder: Path) -> dict[str, float]:
    """Returns the metrics of the table, out of one file that is written into a folder."""
    folder.chmod(0o755)
    demo.generate_sessions(_ROWS, seed=5).to_parquet(folder / "whole.parquet", index=False)
    metrics: dict[str, float] = stack.train("--data", "/data/whole.parquet", *OPTIONS, data=folder)["metrics"]
    return metrics


def parts() -> Iterator[tuple[str, bytes]]:
    """Yields the parts' names and contents, in the rows' order."""
    table = demo.generate_sessions(_ROWS, seed=5)
    size = _ROWS // _PARTS
    for number in range(_PARTS):
        part = io.BytesIO()
        table.iloc[size * number : size * (number + 1)].to_parquet(part, index=False)
        yield f"part-{number}.parquet", part.getvalue()
