"""The options about tracking: where the server is, and how a command reports."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import click

from trainer.cli.options.option import gathered, option
from trainer.config.defaults import EXPERIMENT

tracking_uri_option = option(
    "--tracking-uri",
    group="Tracking",
    env="MLFLOW_TRACKING_URI",
    help="The MLflow server. Without one, mlflow.db in the working directory.",
)

token_file_option = option(
    "--token-file",
    type=click.Path(dir_okay=False, path_type=Path),
    group="Tracking",
    env="TRAINER_TOKEN_FILE",
    help="A file with the token for the MLflow server, where MLFLOW_TRACKING_TOKEN is not set.",
)

wait_option = option(
    "--wait",
    type=click.FloatRange(0, 3600),
    default=30.0,
    show_default=True,
    group="Tracking",
    env="TRAINER_WAIT",
    help="Seconds to wait for the server.",
)

json_option = option(
    "--json", "as_json", is_flag=True, group="Output", env="TRAINER_JSON", help="Print the result as JSON."
)

debug_option = option(
    "--debug", is_flag=True, group="Output", env="TRAINER_DEBUG", help="Show tracebacks and MLflow's own log."
)

experiment_option = option(
    "--experiment",
    default=EXPERIMENT,
    show_default=True,
    group="Tracking",
    env="MLFLOW_EXPERIMENT_NAME",
    help="The experiment; created where it does not exist.",
)

ui_url_option = option(
    "--ui-url",
    group="Tracking",
    env="TRAINER_UI_URL",
    help="Where a browser finds the UI, if not at the tracking URI; for the links that are printed.",
)


@dataclass(frozen=True)
class ServerOptions:
    """Where the tracking server is, how many seconds to wait for it, and how to report."""

    tracking_uri: str | None
    wait: float
    as_json: bool
    debug: bool

    @property
    def uri(self) -> str | None:
        """The tracking URI; None where none was given, or an empty one."""
        return self.tracking_uri or None

    @property
    def served(self) -> bool:
        """Whether runs go to a server, and not to a database that this process opens itself."""
        return (self.tracking_uri or "").startswith(("http://", "https://"))


@dataclass(frozen=True)
class TrackingOptions(ServerOptions):
    """Where to track, and how to report. ``ui_url`` is the base of the links that are printed."""

    experiment: str
    ui_url: str | None


server_options = gathered("server", ServerOptions, tracking_uri_option, wait_option, json_option, debug_option)

tracking_options = gathered(
    "tracking",
    TrackingOptions,
    experiment_option,
    ui_url_option,
    tracking_uri_option,
    wait_option,
    json_option,
    debug_option,
)
