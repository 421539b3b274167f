"""The command ``trainer serve``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from trainer.cli import options
from trainer.config.defaults import MODEL
from trainer.util.errors import InputError

if TYPE_CHECKING:
    from trainer.serving.application import Serving

CHAMPION = f"models:/{MODEL}@champion"


@click.command("serve", cls=options.GroupedCommand, context_settings=options.SETTINGS)
@options.option(
    "--model",
    default=CHAMPION,
    show_default=True,
    group="Model",
    env="TRAINER_MODEL",
    help="The model's URI. An alias is followed: when it moves, the new version is served, without a restart.",
)
@options.option(
    "--interval",
    type=click.FloatRange(0.1, 3600),
    default=10.0,
    show_default=True,
    group="Model",
    env="TRAINER_INTERVAL",
    help="Seconds between two looks at where the alias points.",
)
@options.option(
    "--formats",
    type=click.Choice(("safe", "any")),
    default="safe",
    show_default=True,
    group="Model",
    env="TRAINER_FORMATS",
    help="Which models are served: safe, those whose format runs no code (skops, LightGBM's text), or any.",
)
@options.option(
    "--host", default="127.0.0.1", show_default=True, group="Server", env="TRAINER_HOST", help="Where to listen."
)
@options.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=5001,
    show_default=True,
    group="Server",
    env="TRAINER_PORT",
    help="The port to listen on.",
)
@options.option(
    "--max-body",
    type=click.IntRange(1_000, 2**31),
    default=4 * 1024**2,
    show_default=True,
    group="Server",
    env="TRAINER_MAX_BODY",
    help="The largest request that is taken, in bytes.",
)
@options.option(
    "--concurrency",
    type=click.IntRange(1, 64),
    default=4,
    show_default=True,
    group="Server",
    env="TRAINER_CONCURRENCY",
    help="Requests that are worked on at a time; others wait.",
)
@options.tracking_uri_option
@options.debug_option
def serve_command(
    model: str,
    interval: float,
    formats: str,
    host: str,
    port: int,
    max_body: int,
    concurrency: int,
    tracking_uri: str | None,
    debug: bool,
) -> None:
    r"""Serve a model over HTTP, with MLflow's scoring server: POST /invocations, GET /ping.

    \b
    For example:
    curl localhost:5001/invocations --json '{"dataframe_records": [{...}]}'
    """
    from trainer.serving.application import Bounds, Serving
    from trainer.serving.champion import Champion
    from trainer.tracking.settings import configure
    from trainer.tracking.uris import EMBEDDED_URI, absolute
    from trainer.util.output import print_message

    configure(debug)
    champion = Champion(model, absolute(tracking_uri or EMBEDDED_URI), print_message, formats=formats)
    if not champion.followed:
        champion.require()
    _listen(Serving(champion, interval, Bounds(max_body, concurrency)), host, port)


def _listen(application: Serving, host: str, port: int) -> None:
    """Serve until a signal ends it; what has been asked by then is answered."""
    import socket

    import uvicorn

    from trainer.util.output import print_message

    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        # With its protocol named: asyncio turns Nagle's algorithm off for no other socket, and answers 40 ms late.
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        raise InputError(f"cannot listen on {host}:{port}: {error.strerror or error}; choose another --port") from error
    print_message(f"listening on http://{host}:{listener.getsockname()[1]}")
    config = uvicorn.Config(application, log_level="error", access_log=False, timeout_graceful_shutdown=20)
    uvicorn.Server(config).run(sockets=[listener])
