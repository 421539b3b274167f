"""Compares runs, and writes the comparison as an HTML report."""

from __future__ import annotations

import tempfile
from contextlib import nullcontext
from pathlib import Path

from trainer.comparison import page
from trainer.comparison.collect import Selection, collect
from trainer.comparison.compared_runs import Comparison
from trainer.comparison.plot_files import PlotFile, fetch_plots
from trainer.tracking.errors import tracking_error
from trainer.util.atomic import atomic_file
from trainer.util.errors import InputError, TrackingError, TrainerError
from trainer.util.output import print_message
from trainer.util.text import one_line

#: Of more runs than this the report shows the plots of the first, which are the best: a page must still open.
MOST_PLOTTED = 12


def compare_runs(
    selection: Selection, *, html: Path | None, tracking_uri: str | None, wait: float, ui_url: str | None
) -> Comparison:
    """Return the comparison; write it to ``html``, whole or not at all, if asked to.

    Raises:
        InputError: There are no such runs, or there can be no such file.
        TrackingError: The server cannot be reached, or refuses.
    """
    if html is not None and html.suffix.lower() not in (".html", ".htm"):
        raise InputError(f"{html}: end its name in .html (--html)")
    with atomic_file(html, "--html") if html is not None else nullcontext() as stream:
        comparison = collect(selection, uri=tracking_uri, wait=wait, ui_url=ui_url)
        if stream is not None:
            text = page.render(comparison, _plots(comparison))
            try:
                stream.write(text.encode("utf-8", "replace"))
            except OSError as error:
                raise TrainerError(f"{html}: cannot be written: {error.strerror or one_line(error)}") from error
    return comparison


def _plots(comparison: Comparison) -> dict[str, list[PlotFile]]:
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    client = MlflowClient(tracking_uri=comparison.uri, registry_uri=comparison.uri)
    runs = [*([comparison.parent] if comparison.parent else []), *comparison.runs[:MOST_PLOTTED]]
    if len(comparison.runs) > MOST_PLOTTED:
        print_message(f"the report shows the plots of the first {MOST_PLOTTED} of {len(comparison.runs)} runs")
    found = {}
    with tempfile.TemporaryDirectory(prefix="trainer-") as folder:
        for one in runs:
            try:
                found[one.run_id] = fetch_plots(client, one.run_id, Path(folder))
            except MlflowException as error:
                raise tracking_error(error) from error
            except OSError as error:
                raise TrackingError(f"run {one.run_id}: its plots cannot be read: {one_line(error, 200)}") from error
    return found
