"""The command ``trainer evaluate``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from trainer.cli.options.command import GroupedCommand
from trainer.cli.options.csv_files import csv_options
from trainer.cli.options.fit import stream_option
from trainer.cli.options.option import option
from trainer.cli.options.scored import model_uri_option, scored_data_option
from trainer.cli.options.tracking import server_options

if TYPE_CHECKING:
    from trainer.cli.options.csv_files import CsvOptions
    from trainer.cli.options.tracking import ServerOptions
    from trainer.config.stream import Stream


@click.command("evaluate", cls=GroupedCommand)
@model_uri_option(
    "Evaluation",
    "A model of the trainer's: runs:/RUN_ID/model, models:/NAME/VERSION, models:/NAME@ALIAS, models:/m-ID, or a"
    " folder.",
)
@scored_data_option("Evaluation", "Labelled data: the same kinds of folders and files as in training.")
@option("--target", group="Evaluation", env=None, help="The target column of a single table; by default the model's.")
@option(
    "--positive",
    metavar="VALUE",
    group="Evaluation",
    env=None,
    help="The positive class's value; by default the one of the training.",
)
@option("--all", "all_rows", is_flag=True, group="Evaluation", env=None, help="Take rows too that it was trained on.")
@stream_option
@csv_options
@server_options
def evaluate_command(
    model: str,
    data: Path,
    target: str | None,
    positive: str | None,
    all_rows: bool,
    stream: Stream,
    form: CsvOptions,
    server: ServerOptions,
) -> None:
    r"""Compute a model's metrics on labelled data, at the model's own threshold.

    Rows that the model was trained on are left out. On the data of its training, these are the metrics of its run.

    \b
    For example:
    trainer evaluate --model models:/purchase_predict@champion --data june.csv --target Revenue
    """
    from trainer.tracking.settings import configure

    configure(server.debug)
    from dataclasses import asdict

    from trainer.cli.data_warnings import show_data_warnings
    from trainer.cli.results import show_metrics
    from trainer.scoring.evaluate import EvaluateRequest, evaluate_model
    from trainer.util.output import print_json

    done = evaluate_model(
        EvaluateRequest(model, data, target, positive, all_rows, server.uri, server.wait, form.csv, stream)
    )
    show_data_warnings(done.warnings)
    if server.as_json:
        print_json({name: value for name, value in asdict(done).items() if name != "warnings"})
        return
    left_out = f" ({done.rows_left_out:,} that it was trained on are left out)" if done.rows_left_out else ""
    at = "" if done.threshold is None else f", threshold {done.threshold:.4f}"
    print(f"{done.data}: {done.rows:,} rows{left_out}{at}")
    show_metrics(done.task, done.metrics)
