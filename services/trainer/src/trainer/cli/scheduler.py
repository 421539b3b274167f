"""The command ``trainer scheduler``: the scheduler of a cluster."""

from __future__ import annotations

from pathlib import Path

import click

from trainer.cli import options


@click.command("scheduler", cls=options.GroupedCommand)
@options.option(
    "--host", default="127.0.0.1", show_default=True, group="Cluster", env="TRAINER_HOST", help="Where to listen."
)
@options.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8786,
    show_default=True,
    group="Cluster",
    env="TRAINER_PORT",
    help="The port; 0 for one that the system chooses.",
)
@options.option(
    "--tables",
    type=click.IntRange(1 << 20),
    default=1 << 30,
    show_default=True,
    group="Cluster",
    env="TRAINER_TABLES",
    help="Bytes of tables that are kept in memory for the workers to fetch.",
)
@options.certificates_option
def scheduler_command(host: str, port: int, tables: int, certificates: Path | None) -> None:
    """Run the scheduler of a cluster, which hands variants and trials to workers."""
    from trainer.parallel.cluster.credentials import Credentials

    credentials = Credentials.find(certificates)
    options.import_cluster()
    from trainer.parallel.cluster.scheduling import run_scheduler

    run_scheduler(host, port, credentials, tables)
