"""The command ``trainer worker``: a worker of a cluster, which trains one variant at a time."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from trainer.cli.options.cluster import certificates_option, import_cluster, tables_option
from trainer.cli.options.command import GroupedCommand
from trainer.cli.options.option import option
from trainer.cli.options.tracking import tracking_uri_option, wait_option


@click.command("worker", cls=GroupedCommand)
@option(
    "--cluster",
    required=True,
    group="Cluster",
    env="TRAINER_CLUSTER",
    metavar="ADDRESS",
    help="The scheduler's address, such as tls://scheduler:8786.",
)
@tables_option("for further sweeps")
@option(
    "--tables-folder",
    type=click.Path(path_type=Path, exists=True, file_okay=False, writable=True),
    group="Cluster",
    env="TRAINER_TABLES_FOLDER",
    help="A folder for these tables, which the workers of this machine share. By default each keeps its own.",
)
@option(
    "--ready-file",
    type=click.Path(path_type=Path),
    group="Cluster",
    env="TRAINER_READY_FILE",
    help="A file that exists as long as the worker takes part, for health checks.",
)
@certificates_option
@tracking_uri_option
@wait_option
def worker_command(
    cluster: str,
    tables: int,
    tables_folder: Path | None,
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
    if tables_folder is not None and sys.platform != "linux":
        raise click.UsageError("--tables-folder works on Linux only")
    credentials = Credentials.find(certificates)
    import_cluster()
    configure()
    if tracking_uri:
        os.environ[WORKER_URI] = tracking_uri
    # The authority of the tracking server's certificate, where no public one made it.
    if (authority := credentials.folder / "tracking.pem").is_file():
        os.environ.setdefault("MLFLOW_TRACKING_SERVER_CERT_PATH", str(authority))
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
            tables=tables_folder,
        )
    )
