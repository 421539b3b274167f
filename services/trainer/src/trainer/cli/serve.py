"""The command ``trainer serve``."""

from __future__ import annotations

from pathlib import Path

import click

from trainer.cli.options.command import SETTINGS, GroupedCommand
from trainer.cli.options.option import option
from trainer.cli.options.tracking import debug_option, token_file_option, tracking_uri_option
from trainer.config.defaults import MODEL

CHAMPION = f"models:/{MODEL}@champion"


@click.command("serve", cls=GroupedCommand, context_settings=SETTINGS)
@option(
    "--model",
    default=CHAMPION,
    show_default=True,
    group="Model",
    env="TRAINER_MODEL",
    help="The model's URI. An alias is followed: when it moves, the new version is served, without a restart.",
)
@option(
    "--interval",
    type=click.FloatRange(0.1, 3600),
    default=10.0,
    show_default=True,
    group="Model",
    env="TRAINER_INTERVAL",
    help="Seconds between two looks at where the alias points.",
)
@option(
    "--formats",
    type=click.Choice(("safe", "any")),
    default="safe",
    show_default=True,
    group="Model",
    env="TRAINER_FORMATS",
    help="Which models are served: safe, those whose format runs no code (skops, LightGBM's text), or any.",
)
@option("--host", default="127.0.0.1", show_default=True, group="Server", env="TRAINER_HOST", help="Where to listen.")
@option(
    "--port",
    type=click.IntRange(0, 65535),
    default=5001,
    show_default=True,
    group="Server",
    env="TRAINER_PORT",
    help="The port to listen on.",
)
@option(
    "--max-body",
    type=click.IntRange(1_000, 2**31),
    default=4 * 1024**2,
    show_default=True,
    group="Server",
    env="TRAINER_MAX_BODY",
    help="The largest request that is taken, in bytes.",
)
@option(
    "--concurrency",
    type=click.IntRange(1, 64),
    default=4,
    show_default=True,
    group="Server",
    env="TRAINER_CONCURRENCY",
    help="Requests that are worked on at a time; others wait.",
)
@option(
    "--workers",
    type=click.IntRange(1, 64),
    default=1,
    show_default=True,
    group="Server",
    env="TRAINER_WORKERS",
    help="Processes that answer on the one port. Each follows the alias by itself, and holds the model.",
)
@option(
    "--metrics-port",
    type=click.IntRange(0, 65535),
    group="Server",
    env="TRAINER_METRICS_PORT",
    help="Count what is served, and tell it at this port in Prometheus's format (default: count nothing).",
)
@tracking_uri_option
@token_file_option
@debug_option
def serve_command(
    model: str,
    interval: float,
    formats: str,
    host: str,
    port: int,
    max_body: int,
    concurrency: int,
    workers: int,
    metrics_port: int | None,
    tracking_uri: str | None,
    token_file: Path | None,
    debug: bool,
) -> None:
    r"""Serve a model over HTTP, by MLflow's scoring protocol: POST /invocations, GET /ping.

    \b
    For example:
    curl localhost:5001/invocations --json '{"dataframe_records": [{...}]}'
    """
    from contextlib import ExitStack

    from trainer.serving.application import Bounds, Serving
    from trainer.serving.champion import Champion
    from trainer.serving.exposition import Exposition
    from trainer.serving.workers import listen, serve, serve_in_workers
    from trainer.tracking.settings import configure, use_token
    from trainer.tracking.uris import EMBEDDED_URI, absolute
    from trainer.util.output import print_message

    configure(debug)
    if token_file is not None:
        use_token(token_file)

    def make(number: int = 0) -> Serving:
        champion = Champion(model, absolute(tracking_uri or EMBEDDED_URI), print_message, formats=formats)
        if not champion.followed:
            champion.require()
        counts = None if exposition is None else exposition.counts(number)
        return Serving(champion, interval, Bounds(max_body, concurrency), looks_first=workers > 1, counts=counts)

    with ExitStack() as stack:
        exposition = None if metrics_port is None else stack.enter_context(Exposition(listen(host, metrics_port)))
        # With several processes, each loads the model by itself: after a fork, LightGBM's threads are not to be had.
        application = make() if workers == 1 else None
        listener = listen(host, port)
        print_message(f"listening on http://{host}:{listener.getsockname()[1]}")
        if exposition is not None:
            print_message(f"metrics are at http://{host}:{exposition.port}/metrics")
        if application is not None:
            serve(application, listener, exposition)
        else:
            serve_in_workers(workers, make, listener, exposition)
