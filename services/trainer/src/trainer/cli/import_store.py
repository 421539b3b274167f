"""The command ``trainer import``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from trainer.cli.options.command import SETTINGS, GroupedCommand
from trainer.cli.options.option import option
from trainer.cli.options.tracking import debug_option, json_option, wait_option


@click.command("import", cls=GroupedCommand, context_settings=SETTINGS)
@click.argument("store", required=False, metavar="[STORE]", help="An mlruns folder, or a SQLite file (mlflow.db).")
@option("--from", "from_uri", group="Tracking", env=None, help="Another server, in the place of STORE.")
@option(
    "--to",
    "to_uri",
    group="Tracking",
    env="MLFLOW_TRACKING_URI",
    help="The server to bring everything into. Without one, mlflow.db in the working directory.",
)
@option(
    "--artifacts",
    type=click.Path(path_type=Path),
    group="Tracking",
    env=None,
    help="The folder with STORE's artifacts, where it is neither STORE nor mlruns or mlartifacts beside it.",
)
@wait_option
@json_option
@debug_option
def import_command(
    store: str | None,
    from_uri: str | None,
    to_uri: str | None,
    artifacts: Path | None,
    wait: float,
    as_json: bool,
    debug: bool,
) -> None:
    r"""Bring experiments, runs, artifacts, models, versions and aliases of another store into a server.

    What is there is left alone, so that the same command again does nothing, or finishes what was interrupted. Each
    file is read back and compared by its SHA-256. The source is not changed. Ids of runs are new; the old ones are
    tags (trainer.push.…). Runs that have not ended are left out.

    \b
    For example:
    trainer import ./mlruns --to http://localhost:5000
    trainer import --from https://old.example.org --to http://localhost:5000
    """
    from trainer.tracking.settings import configure
    from trainer.tracking.uris import EMBEDDED_URI, without_credentials
    from trainer.transfer.import_store import import_store
    from trainer.transfer.stores import open_store
    from trainer.util.errors import InputError
    from trainer.util.output import print_json, print_message

    if (store is None) == (from_uri is None):
        raise InputError("name what to import: a folder or file (trainer import ./mlruns), or a server (--from URI)")
    configure(debug)
    with open_store(store or str(from_uri), artifacts, wait) as source:
        imported = import_store(source, to_uri or EMBEDDED_URI, wait, print_message)
    if as_json:
        print_json(asdict(imported))
        return
    print(f"imported {without_credentials(source.name)} into {without_credentials(to_uri or EMBEDDED_URI)}")
    print(f"runs      {imported.runs} brought in, {imported.runs_before} there before")
    print(f"models    {imported.models} brought in")
    print(f"versions  {imported.versions} brought in, {imported.versions_before} there before")
    print(f"aliases   {imported.aliases} set")
    print(f"files     {imported.files}, {imported.bytes / 2**20:.1f} MiB, each read back and compared (SHA-256)")
    if imported.left_out:
        print(f"left out  {len(imported.left_out)} (above)")
