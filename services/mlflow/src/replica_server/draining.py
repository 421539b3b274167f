"""How a server of several ends: it asks for no further requests, and finishes those that it has.

At SIGTERM it answers the balancer's health check with 503 for as long as the balancer needs to notice
(compose.servers.yaml: MLFLOW_DRAIN), and takes requests meanwhile. Then no new connection comes, and nothing is lost
by closing the port. A server that is the only one ends at once: there is nobody else to ask.
"""

import threading
from types import FrameType

import uvicorn
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEALTH = "/health"
BODY = b"this server is ending"


class Draining:
    """The application, around another one, that sends clients elsewhere once `begun` is set.

    Args:
        app: The other one.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.begun = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes a request on; a health check is refused, and a connection is closed after its answer."""
        if not self.begun or scope["type"] != "http":
            await self.app(scope, receive, send)
        elif scope["path"] == HEALTH:
            headers = [(b"content-type", b"text/plain"), (b"connection", b"close")]
            await send({"type": "http.response.start", "status": 503, "headers": headers})
            await send({"type": "http.response.body", "body": BODY})
        else:
            await self.app(scope, receive, closing(send))


def closing(send: Send) -> Send:
    """Returns a `send` whose answer says that it is its connection's last one."""

    async def with_header(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", ()), (b"connection", b"close")]
        await send(message)

    return with_header


class Server(uvicorn.Server):
    """uvicorn's server, which drains first.

    Args:
        config: uvicorn's, with `draining` as its application.
        draining: The application.
        seconds: For how long it takes requests after the first signal; 0: it does not.
    """

    def __init__(self, config: uvicorn.Config, draining: Draining, seconds: int) -> None:
        super().__init__(config)
        self.draining = draining
        self.seconds = seconds

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begins to drain at the first signal, and ends as uvicorn does after it, or at the next signal."""
        if self.draining.begun or not self.seconds or not self.started:
            super().handle_exit(sig, frame)
            return
        self.draining.begun = True
        print(
            f"mlflow: ending: no requests are taken in {self.seconds} seconds, and those under way finish", flush=True
        )
        timer = threading.Timer(self.seconds, super().handle_exit, (sig, frame))
        timer.daemon = True
        timer.start()
