"""A table in three parts, as a bucket holds it, and what a trainer makes of the same rows in one file on disk."""

from __future__ import annotations

import copy
import io
from collections.abc import Iterator
from pathlib import Path

from trainer.data import demo

from .stack import ROOT, Stack

OPTIONS = ("--target", demo.TARGET, "--n-estimators", "10")
_ROWS, _PARTS = 1_500, 3


def metrics_of_one_file(stack: Stack, folder: Path) -> dict[str, float]:
    """Returns the metrics of the table, out of one file that is written into a folder."""
    folder.chmod(0o755)
    demo.generate_sessions(_ROWS, seed=5).to_parquet(folder / "whole.parquet", index=False)
    metrics: dict[str, float] = stack.train("--data", "/data/whole.parquet", *OPTIONS, data=folder)["metrics"]
    return metrics


def stack_with_key(stack: Stack, key: Path, content: str) -> Stack:
    """Returns the stack as one whose trainer reads buckets by a key.

    Args:
        stack: The stack.
        key: The file of the key, which is written; the container's user has to reach its folder.
        content: What is in the file.
    """
    key.write_text(content)
    key.chmod(0o644)
    reading = copy.copy(stack)
    reading.files = [*stack.files, ROOT / "compose.bucket-data.yaml"]
    reading.environment = {**stack.environment, "DATA_KEY_FILE": str(key)}
    return reading


def parts() -> Iterator[tuple[str, bytes]]:
    """Yields the parts' names and contents, in the rows' order."""
    table = demo.generate_sessions(_ROWS, seed=5)
    size = _ROWS // _PARTS
    for number in range(_PARTS):
        part = io.BytesIO()
        table.iloc[size * number : size * (number + 1)].to_parquet(part, index=False)
        yield f"part-{number}.parquet", part.getvalue()
