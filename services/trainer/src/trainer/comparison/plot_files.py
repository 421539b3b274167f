"""Fetches the plots of runs."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer.util.errors import downloading

if TYPE_CHECKING:
    from mlflow import MlflowClient

TYPES = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".webp": "image/webp",
    ".gif": "image/gif",
    # As the source of an <img>, a drawing runs no scripts and loads nothing.
    ".svg": "image/svg+xml",
}
#: What is larger is no plot to look at in a report.
MOST_BYTES = 4 << 20
_DEPTH = 3


@dataclass(frozen=True)
class PlotFile:
    """A plot of a run: its path among the run's artifacts, and its contents as a data URI."""

    path: str
    uri: str


def fetch_plots(client: MlflowClient, run_id: str, folder: Path) -> list[PlotFile]:
    """Return a run's plots, in the order of their paths.

    Args:
        client: MLflow's client.
        run_id: The run.
        folder: Where to download to.
    """
    plots = []
    for artifact in _plots(client, run_id, None, _DEPTH):
        with downloading(folder):
            file = Path(client.download_artifacts(run_id, artifact.path, str(folder)))
        content = base64.b64encode(file.read_bytes()).decode("ascii")
        file.unlink()
        plots.append(PlotFile(artifact.path, f"data:{TYPES[file.suffix.lower()]};base64,{content}"))
    return sorted(plots, key=lambda plot: plot.path)


def _plots(client: MlflowClient, run_id: str, path: str | None, depth: int) -> Iterator[Any]:
    for artifact in client.list_artifacts(run_id, path):
        if artifact.is_dir:
            if depth > 0:
                yield from _plots(client, run_id, artifact.path, depth - 1)
        elif Path(artifact.path).suffix.lower() in TYPES and (artifact.file_size or 0) <= MOST_BYTES:
            yield artifact
