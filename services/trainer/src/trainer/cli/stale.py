"""The command ``trainer stale``."""

from __future__ import annotations

import time
from pathlib import Path

import click

from trainer.cli.options.command import SETTINGS, GroupedCommand
from trainer.cli.options.option import option
from trainer.cli.options.tracking import debug_option, json_option, token_file_option, tracking_uri_option, wait_option


@click.command("stale", cls=GroupedCommand, context_settings=SETTINGS)
@option(
    "--silent",
    type=click.FloatRange(2, 10_000),
    default=10.0,
    show_default=True,
    group="Which runs",
    env="TRAINER_STALE_SILENT",
    help="Minutes without a heartbeat after which a run is stale. The trainer's runs give one each minute.",
)
@option(
    "--max-age",
    type=click.FloatRange(0, 100_000, min_open=True),
    group="Which runs",
    env="TRAINER_STALE_MAX_AGE",
    help="Hours after which a run without a heartbeat is stale (default: never).",
)
@option(
    "--confirm",
    type=click.FloatRange(0, 3600),
    default=90.0,
    show_default=True,
    group="Which runs",
    env=None,
    help="Seconds until a stale run is looked at again: one that has given a sign of life by then is left alone.",
)
@option("--dry-run", is_flag=True, group="What is done", env=None, help="List the stale runs, and mark none.")
@option(
    "--every",
    type=click.FloatRange(0.1, 86_400),
    group="What is done",
    env=None,
    help="Look again every so many seconds, until a signal ends it.",
)
@tracking_uri_option
@token_file_option
@wait_option
@json_option
@debug_option
def stale_command(
    silent: float,
    max_age: float | None,
    confirm: float,
    dry_run: bool,
    every: float | None,
    tracking_uri: str | None,
    token_file: Path | None,
    wait: float,
    as_json: bool,
    debug: bool,
) -> None:
    r"""Mark runs FAILED whose process died with its machine: they would show as running for good.

    A run of the trainer renews its heartbeat (the tag trainer.heartbeat) each minute while it is under way. One that
    falls silent becomes FAILED, with the reason as the tag failure_reason. Runs without a heartbeat are left alone,
    unless --max-age says how old they may be.

    \b
    For example:
    trainer stale --dry-run
    """
    from mlflow.exceptions import MlflowException

    from trainer.tracking import stale_runs
    from trainer.tracking.connection import wait_for_server
    from trainer.tracking.errors import tracking_error
    from trainer.tracking.settings import configure, use_token
    from trainer.tracking.uris import EMBEDDED_URI
    from trainer.util.errors import InputError
    from trainer.util.output import print_json, print_message

    if every is not None and (dry_run or as_json):
        raise InputError("--every goes with neither --dry-run nor --json")
    configure(debug)
    if token_file is not None:
        use_token(token_file)
    client = wait_for_server(tracking_uri or EMBEDDED_URI, wait)
    limits = stale_runs.Limits(silent * 60, None if max_age is None else max_age * 3600)
    while True:
        try:
            found = stale_runs.look(client, limits, confirm=confirm, dry_run=dry_run)
        except MlflowException as error:
            if every is None:
                raise tracking_error(error) from error
            # Whatever it is, there is a next look.
            print_message(str(tracking_error(error)))
            found = []
        if as_json:
            print_json({"stale": [stale.shown() for stale in found]})
        else:
            for stale in found:
                verdict = "would be marked as FAILED" if dry_run else "marked as FAILED"
                print(f"{stale.run_id}  {stale.name}: {stale.reason}: {verdict}", flush=True)
        if every is None:
            break
        time.sleep(every)
    if not found and not as_json:
        print("no stale runs")
