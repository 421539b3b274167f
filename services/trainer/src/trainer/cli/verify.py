"""The command ``trainer verify``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from trainer.cli.options.command import GroupedCommand
from trainer.cli.options.option import option
from trainer.cli.options.tracking import debug_option, json_option

if TYPE_CHECKING:
    from trainer.verification.verify import Finding, Report


@click.command("verify", cls=GroupedCommand)
@option(
    "--tracking-uri",
    required=True,
    group="Stack",
    env="MLFLOW_TRACKING_URI",
    help="The MLflow server to check, as its clients reach it. A login comes from MLFLOW_TRACKING_USERNAME and"
    " MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN.",
)
@option(
    "--large-mib",
    type=click.IntRange(1, 1024),
    default=20,
    show_default=True,
    group="Stack",
    env=None,
    help="The size of the large artifact, in MiB. It stays in the bucket where the server may not delete.",
)
@option(
    "--wait",
    type=click.FloatRange(0, 3600),
    default=10.0,
    show_default=True,
    group="Stack",
    env="TRAINER_WAIT",
    help="Seconds to wait for the server.",
)
@json_option
@debug_option
def verify_command(tracking_uri: str, large_mib: int, wait: float, as_json: bool, debug: bool) -> None:
    """Check that a running MLflow stack, production included, does what this replica does.

    The checks work in an experiment and a registered model with names of their own, and remove both again. What
    cannot be removed, because the server's identity may not delete from its bucket, is named at the end.

    Where MLflow's own server runs there, what the replica's server is stricter in is a remark, and no difference.

    Exit code 0: as the replica, or with remarks. 1: something differs, or could not be checked. 2: no such server, or
    it refuses.
    """
    from trainer.tracking.settings import configure
    from trainer.util.output import print_json
    from trainer.verification.verify import ConformanceError, Report, verify

    configure(debug)
    report = Report()
    try:
        verify(report, tracking_uri, wait=wait, large_mib=large_mib, on_finding=_progress)
    finally:
        if report.findings:
            if as_json:
                print_json(report.content())
            else:
                _show(report)
    if not report.conforms:
        odd = sum(1 for finding in report.findings if not finding.passed)
        raise ConformanceError(f"{odd} of {len(report.findings)} checks: not as the replica")


def _progress(finding: Finding) -> None:
    if sys.stderr.isatty():
        print(f"\r\x1b[K{finding.check}: {finding.outcome}", end="", file=sys.stderr, flush=True)


def _show(report: Report) -> None:
    from trainer.util.output import print_plain_table, print_rich_table

    if sys.stderr.isatty():
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)
    print(f"{report.tracking_uri}, experiment {report.experiment}")
    heads = ("check", "result", "what was seen")
    rows = [(finding.check, finding.outcome, finding.detail) for finding in report.findings]
    if sys.stdout.isatty():
        styles = [None if finding.same else "yellow" if finding.passed else "red" for finding in report.findings]
        print_rich_table(heads, rows, whole=heads[:2], styles=styles)
    else:
        print_plain_table(*rows)
    for item in report.left:
        print(f"left   {item}")
