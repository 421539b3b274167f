"""The option ``--cluster``: where the cluster of workers is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import click

from trainer.cli.options.option import Function, option
from trainer.util.errors import InputError

#: The composed stack's scheduler.
CLUSTER = "tls://scheduler:8786"

certificates_option = option(
    "--certificates",
    type=click.Path(path_type=Path),
    group="Cluster",
    env="TRAINER_CLUSTER_CERTIFICATES",
    help="The folder with ca.pem, certificate.pem and key.pem; /run/secrets/cluster by default.",
)

cluster_option = option(
    "--cluster",
    is_flag=False,
    flag_value=CLUSTER,
    metavar="[ADDRESS]",
    group="Cluster",
    env="TRAINER_CLUSTER",
    help=f"Run on the workers of a cluster, whose scheduler is at this address; without one, at {CLUSTER}.",
)

distributed_option = option(
    "--distributed",
    is_flag=True,
    group="Cluster",
    env="TRAINER_DISTRIBUTED",
    help="Fit the one model over all workers of the cluster, each with a part of the rows.",
)


def tables_option(what_for: str) -> Callable[[Function], Function]:
    """Return the option that bounds the tables in memory, whose help says what they are kept for."""
    return option(
        "--tables",
        type=click.IntRange(1 << 20),
        default=1 << 30,
        show_default=True,
        group="Cluster",
        env="TRAINER_TABLES",
        help=f"Bytes of tables that are kept in memory {what_for}.",
    )


def import_cluster() -> None:
    """Import Dask's distributed, which is an extra of the package.

    Raises:
        InputError: It is not installed.
    """
    import importlib

    try:
        importlib.import_module("distributed")
    except ImportError as error:
        raise InputError(f"a cluster needs the package's extra: pip install 'trainer[cluster]' ({error})") from error
