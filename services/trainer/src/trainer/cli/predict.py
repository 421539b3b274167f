"""The command ``trainer predict``."""

from __future__ import annotations

from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from trainer.cli.options.cluster import cluster_option
from trainer.cli.options.command import GroupedCommand
from trainer.cli.options.csv_files import csv_options
from trainer.cli.options.option import option
from trainer.cli.options.scored import model_uri_option, scored_data_option
from trainer.cli.options.tracking import server_options

if TYPE_CHECKING:
    from trainer.cli.options.csv_files import CsvOptions
    from trainer.cli.options.tracking import ServerOptions
    from trainer.parallel.engine import Engine
    from trainer.scoring.predict import PredictRequest, PredictResult


@click.command("predict", cls=GroupedCommand)
@model_uri_option(
    "Scoring",
    "runs:/RUN_ID/model, models:/NAME/VERSION, models:/NAME@ALIAS, models:/m-ID, or a folder. Any model that"
    " MLflow can load here will do; load only models that you trust, as loading some kinds runs code.",
)
@scored_data_option(
    "Scoring",
    "The table to score: .csv, .tsv, one of these as .gz, or .parquet; a file, a folder of parts, or a pattern.",
)
@option(
    "--out",
    required=True,
    type=click.Path(path_type=Path),
    group="Scoring",
    env=None,
    help="The file to write: .csv, .csv.gz or .parquet. Written whole or not at all; an older one is replaced."
    " Or a folder, for a part file of each file.",
)
@option(
    "--id",
    "ids",
    multiple=True,
    metavar="COLUMN",
    group="Scoring",
    env=None,
    help="A column to copy into the result. Repeatable.",
)
@option("--keep", is_flag=True, group="Scoring", env=None, help="Copy all columns into the result.")
@option(
    "--jobs",
    type=click.IntRange(1, 1024),
    group="Scoring",
    env="TRAINER_JOBS",
    help="Threads; by default as many as there are processors. The result does not depend on it.",
)
@cluster_option
@csv_options
@option(
    "--original-labels",
    is_flag=True,
    group="Scoring",
    env=None,
    help="Call two classes as the target column had them, such as good and bad, and not 0 and 1.",
)
@server_options
def predict_command(
    model: str,
    data: Path,
    out: Path,
    ids: tuple[str, ...],
    keep: bool,
    jobs: int | None,
    cluster: str | None,
    form: CsvOptions,
    original_labels: bool,
    server: ServerOptions,
) -> None:
    r"""Score a file of any size with a logged model.

    The result has a row for each row of the file, in the same order: its probability, and its class at the model's own
    threshold; the probability of each of several classes, and the class; or the number that is predicted. Columns may
    come in any order; they are read as the kinds that the model was trained on.

    \b
    For example:
    trainer predict --model runs:/RUN_ID/model --data new.csv --out scores.csv --id session
    trainer predict --model models:/purchase_predict@champion --data new.parquet --out scored.parquet --keep
    trainer predict --model models:/purchase_predict@champion --data june/ --out scored/ --cluster
    """
    if keep and ids:
        raise click.UsageError("--keep copies all columns already; leave out --id")
    from trainer.tracking.settings import configure

    configure(server.debug)
    from trainer.scoring.predict import PredictRequest
    from trainer.util.output import print_json
    from trainer.util.processors import available_cpus

    request = PredictRequest(
        model,
        data,
        out,
        ids,
        keep,
        jobs or available_cpus(),
        server.uri,
        server.wait,
        form.csv,
        original_labels,
    )
    done = _predict(request, cluster, jobs)
    if server.as_json:
        print_json(
            {
                "out": str(done.out),
                "rows": done.rows,
                "columns": list(done.columns),
                "positives": done.positives,
                "threshold": done.threshold,
                "scorer": done.scorer,
                "seconds": round(done.seconds, 3),
            }
        )
        return
    at = "" if done.threshold is None else f" at threshold {done.threshold:.4f}"
    # Another's model may call its classes anything.
    what = "positive" if done.positive == 1 else f"of class {done.positive}"
    called = "" if done.positives is None else f", {done.positives:,} ({done.positives / done.rows:.1%}) {what}{at}"
    print(f"{done.out}: {done.rows:,} rows{called}; {done.seconds:.1f} s, {done.rows / done.seconds:,.0f} rows/s")


def _predict(request: PredictRequest, cluster: str | None, jobs: int | None) -> PredictResult:
    """Score into one file, or into a folder: there each file by itself, on the cluster if there is one."""
    named = click.get_current_context().get_parameter_source("cluster") is ParameterSource.COMMANDLINE
    if not (named or request.out.is_dir()):
        from trainer.scoring.predict import predict_file

        return predict_file(request)
    from trainer.scoring.predict_parts import predict_parts

    if not cluster:
        return predict_parts(request)
    from trainer.cli import preparation

    with ExitStack() as stack:

        def workers() -> Engine:
            pool = stack.enter_context(closing(preparation.open_cluster(cluster, request.wait)))
            if jobs is not None:
                pool.most = jobs
            return pool

        return predict_parts(request, workers)
