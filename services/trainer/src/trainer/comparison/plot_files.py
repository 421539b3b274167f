"""Fetches the plots of runs, and draws those of the trainer anew as SVG, which is right on a light and a dark page."""

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
    """A plot of a run: its path among the run's artifacts, and its contents as a data URI or as an ``svg`` element."""

    path: str
    uri: str
    svg: str | None = None


def fetch_plots(client: MlflowClient, run_id: str, folder: Path) -> list[PlotFile]:
    """Return a run's plots, in the order of their paths.

    Args:
        client: MLflow's client.
        run_id: The run.
        folder: Where to download to.
    """
    artifacts = list(_plots(client, run_id, None, _DEPTH))
    paths = {artifact.path for artifact in artifacts}
    plots: list[PlotFile] = []
    for artifact in artifacts:
        if artifact.path.replace("_dark.png", ".png") in paths - {artifact.path}:
            # The same plot, drawn for a dark page.
            continue
        with downloading(folder):
            file = Path(client.download_artifacts(run_id, artifact.path, str(folder)))
        drawn = _drawn(file, f"p{run_id[:12]}{len(plots)}") if file.suffix.lower() == ".png" else None
        content = "" if drawn else base64.b64encode(file.read_bytes()).decode("ascii")
        file.unlink()
        plots.append(PlotFile(artifact.path, f"data:{TYPES[file.suffix.lower()]};base64,{content}", drawn))
    return sorted(plots, key=lambda plot: plot.path)


def _drawn(file: Path, mark: str) -> str | None:
    """Return a plot of the trainer's as SVG, from what its file carries; None where that cannot be drawn."""
    from PIL import Image

    from trainer.plots.content import PNG_TEXT, parse_content
    from trainer.plots.svg import svg

    try:
        with Image.open(file) as picture:
            carried = picture.info.get(PNG_TEXT)
        return svg(parse_content(carried), mark) if isinstance(carried, str) else None
    except Exception:  # noqa: BLE001  # any program may have written the file: the report then shows it as it is
        return None


def _plots(client: MlflowClient, run_id: str, path: str | None, depth: int) -> Iterator[Any]:
    for artifact in client.list_artifacts(run_id, path):
        if artifact.is_dir:
            if depth > 0:
                yield from _plots(client, run_id, artifact.path, depth - 1)
        elif Path(artifact.path).suffix.lower() in TYPES and (artifact.file_size or 0) <= MOST_BYTES:
            yield artifact
