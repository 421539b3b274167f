"""The command ``trainer compare``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from trainer.cli.options.command import GroupedCommand
from trainer.cli.options.option import option
from trainer.cli.options.tracking import server_options, ui_url_option

if TYPE_CHECKING:
    from trainer.cli.options.tracking import ServerOptions


@click.command("compare", cls=GroupedCommand)
@click.argument("names", nargs=-1, metavar="[RUN_OR_MODEL]...", help="Run ids, or URIs of models or runs.")
@option(
    "--sweep",
    metavar="RUN_ID",
    group="Runs",
    env=None,
    help="All variants of a sweep, or trials of a search, given by its parent run.",
)
@option(
    # Not from MLFLOW_EXPERIMENT_NAME, which says where to train: it would make every other choice ambiguous.
    "--experiment",
    metavar="NAME",
    group="Runs",
    env=None,
    help="All runs of an experiment, given by name or id.",
)
@option(
    "--html",
    type=click.Path(path_type=Path),
    group="Output",
    env=None,
    help="Also write a report with the runs' plots, as one file. Written whole or not at all; an older one is"
    " replaced.",
)
@ui_url_option
@server_options
def compare_command(
    names: tuple[str, ...],
    sweep: str | None,
    experiment: str | None,
    html: Path | None,
    ui_url: str | None,
    server: ServerOptions,
) -> None:
    r"""Show runs side by side: the parameters that differ, and the metrics with the best marked.

    Runs are given by their ids, or by the URIs of their models; or all of a sweep or an experiment, best first.

    \b
    For example:
    trainer compare RUN_ID RUN_ID models:/purchase_predict@champion
    trainer compare --sweep RUN_ID --html report.html
    """
    if [bool(names), sweep is not None, experiment is not None].count(True) != 1:
        raise click.UsageError("name runs or models, or give --sweep or --experiment: one of the three")
    from trainer.tracking.settings import configure

    configure(server.debug)
    from trainer.comparison import table
    from trainer.comparison.collect import Selection
    from trainer.comparison.compare import compare_runs
    from trainer.util.output import print_json

    comparison = compare_runs(
        Selection(names, experiment, sweep),
        html=html,
        tracking_uri=server.uri,
        wait=server.wait,
        ui_url=ui_url or None,
    )
    if server.as_json:
        print_json(table.content(comparison))
        return
    table.show(comparison)
    if html is not None:
        print(f"report {html}")
