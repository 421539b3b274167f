"""The command ``trainer worker``: a worker of a cluster, which trains one variant at a time."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from trainer.cli import options


@click.command("worker", cls=options.GroupedCommand)
@options.option(
    "--cluster",
    required=True,
    group="Cluster",
    env="TRAINER_CLUSTER",
    metavar="ADDRESS",
    help="The scheduler's address, such as tls://scheduler:8786.",
)
@options.option(
    "--tables",
    type=click.IntRange(1 << 20),
    default=1 << 30,
    show_default=True,
    group="Cluster",
    env="TRAINER_TABLES",
    help="Bytes of tables that are kept in memory for further sweeps.",
)
@options.option(
    "--ready-file",
    type=click.Path(path_type=Path),
    group="Cluster",
    env="TRAINER_READY_FILE",
    help="A file that exists as long as the worker takes part, for health checks.",
)
@options.certificates_option
@options.tracking_uri_option
@options.wait_option
def worker_command(
    cluster: str,
    tables: int,
    ready_file: Path | None,
    certificates: Path | None,
    tracking_uri: str | None,
    wait: float,
) -> None:
    """Take part in a cluster: train the variants that its scheduler hands out, one at a time."""
    from trainer.parallel.cluster.credentials import Credentials, parse_address
    from trainer.tracking.client import WORKER_URI
    from trainer.tracking.settings import configure

    parse_address(cluster)
    credentials = Credentials.find(certificates)
    options.import_cluster()
    configure()
    if tracking_uri:
        os.environ[WORKER_URI] = tracking_uri
    from trainer.parallel.cluster.working import run_worker
    from trainer.sweeps.sweep import sweep_preload

    sys.exit(
        run_worker(
            cluster,
            credentials,
            room=tables,
            preload=sweep_preload(served=True),
            patience=wait,
            ready=ready_file,
        )
    )
