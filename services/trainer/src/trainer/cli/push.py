"""The command ``trainer push``."""

from __future__ import annotations

from dataclasses import asdict

import click

from trainer.cli.options.command import GroupedCommand
from trainer.cli.options.option import option
from trainer.cli.options.tracking import debug_option, json_option, wait_option


@click.command("push", cls=GroupedCommand)
@click.argument("model_uri", metavar="MODEL", help="models:/NAME/VERSION or models:/NAME@ALIAS.")
@option("--to", "to_uri", required=True, group="Tracking", env="TRAINER_PUSH_TO", help="The server to copy to.")
@option(
    "--from",
    "from_uri",
    group="Tracking",
    env="MLFLOW_TRACKING_URI",
    help="The server to copy from. Without one, mlflow.db in the working directory.",
)
@option("--alias", group="Tracking", env=None, help="An alias that is to lead to the copy, such as champion.")
@wait_option
@json_option
@debug_option
def push_command(
    model_uri: str, to_uri: str, from_uri: str | None, alias: str | None, wait: float, as_json: bool, debug: bool
) -> None:
    r"""Copy a registered model version, with the run that made it, to another MLflow server.

    What is copied: the run (parameters, metrics with their history, tags, data sets, artifacts), the model with
    its files, and the version with its tags and description, into the experiment and the registered model of the
    same names. Each file is read back and compared by its SHA-256. The ids and the server that it came from
    become tags (trainer.push.…). A run's parent stays behind; its id becomes a tag too.

    The same command again does nothing, or finishes what was interrupted. The version is registered last.

    \b
    For example:
    trainer push models:/purchase_predict/3 --to https://mlflow.example.org --alias champion
    """
    from trainer.tracking.connection import connect
    from trainer.tracking.settings import configure
    from trainer.tracking.uris import EMBEDDED_URI, without_credentials
    from trainer.transfer import push
    from trainer.transfer.push_source import read_source
    from trainer.util.output import print_json, print_message

    configure(debug)
    source = read_source(from_uri or EMBEDDED_URI, model_uri, wait)
    destination = connect(to_uri, source.experiment, wait=wait)
    pushed = push.push(source, destination, alias, print_message)
    if as_json:
        print_json(asdict(pushed))
        return
    there = f"models:/{pushed.name}/{pushed.version} at {without_credentials(to_uri)}"
    print(f"{'copied' if pushed.created else 'was there already:'} {model_uri} → {there}")
    print(f"run    {pushed.run_id}")
    print(f"model  models:/{pushed.model_id}")
    if pushed.alias is not None:
        print(f"alias  models:/{pushed.name}@{pushed.alias}")
    if pushed.files:
        print(f"files  {pushed.files}, {pushed.bytes / 2**20:.1f} MiB, each read back and compared (SHA-256)")
    if pushed.url is not None:
        print(f"look   {pushed.url}")
