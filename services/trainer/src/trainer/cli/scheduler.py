"""The command ``trainer scheduler``: the scheduler of a cluster."""

from __future__ import annotations

from pathlib import Path

import click

from trainer.cli.options.cluster import certificates_option, import_cluster, tables_option
from trainer.cli.options.command import GroupedCommand
from trainer.cli.options.option import option


@click.command("scheduler", cls=GroupedCommand)
@option("--host", default="127.0.0.1", show_default=True, group="Cluster", env="TRAINER_HOST", help="Where to listen.")
@option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8786,
    show_default=True,
    group="Cluster",
    env="TRAINER_PORT",
    help="The port; 0 for one that the system chooses.",
)
@option(
    "--dashboard-host",
    default="127.0.0.1",
    show_default=True,
    group="Cluster",
    env="TRAINER_DASHBOARD_HOST",
    help="Where Dask's dashboard listens. It asks for no login.",
)
@option(
    "--dashboard-port",
    type=click.IntRange(0, 65535),
    group="Cluster",
    env="TRAINER_DASHBOARD_PORT",
    help="The dashboard's port; 0 for one that the system chooses. By default there is no dashboard.",
)
@option(
    "--dashboard-name",
    metavar="NAME",
    group="Cluster",
    env="TRAINER_DASHBOARD_NAME",
    help="The name or address at which browsers of other machines reach the dashboard. Others are refused.",
)
@tables_option("for the workers to fetch")
@certificates_option
def scheduler_command(
    host: str,
    port: int,
    dashboard_host: str,
    dashboard_port: int | None,
    dashboard_name: str | None,
    tables: int,
    certificates: Path | None,
) -> None:
    """Run the scheduler of a cluster, which hands variants and trials to workers."""
    from trainer.parallel.cluster.credentials import Credentials

    credentials = Credentials.find(certificates)
    import_cluster()
    from trainer.parallel.cluster.dashboard import Dashboard
    from trainer.parallel.cluster.scheduling import run_scheduler

    dashboard = None
    if dashboard_port is not None:
        dashboard = Dashboard(dashboard_host, dashboard_port, (dashboard_name,) if dashboard_name else ())
    run_scheduler(host, port, credentials, tables, dashboard)
