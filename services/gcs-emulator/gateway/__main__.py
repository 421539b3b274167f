"""Starts the gateway: `python -m gateway`. The storage API is on port 4443, the admin endpoint on 4444."""

import asyncio
import logging
import signal
import time

from aiohttp import ClientError, ClientSession, ClientTimeout, TCPConnector, web
from aiohttp.typedefs import Handler

from gateway import accounts, errors, settings
from gateway.access import Access
from gateway.admin import Admin
from gateway.metadata import Metadata
from gateway.operations import Wanted
from gateway.proxy import Cut, Proxy, error_response, hang_up, hit
from gateway.roles import ALL_PERMISSIONS
from gateway.state import Gateway
from gateway.tokens import Tokens
from gateway.versions import Versions

API_PORT, ADMIN_PORT = 4443, 4444


class Api:
    """The handlers that are the gateway's own, and the proxy for all the rest."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._proxy = Proxy(gateway)

    def application(self) -> web.Application:
        """Returns the application."""
        # No limit on a body's size: it is passed on as it comes.
        application = web.Application(client_max_size=0, middlewares=[self.faults])
        application.add_routes([web.post("/token", self.token)])
        application.add_routes([web.get("/storage/v1/b/{bucket}/iam/testPermissions", self.test_permissions)])
        if self._gateway.settings.attached_account:
            application.add_routes(Metadata(self._gateway).routes())
        application.add_routes([web.route("*", "/{path:.*}", self._proxy.handle)])
        return application

    @web.middleware
    async def faults(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Lets a fault hit the requests that are not passed on; the proxy sees to its own."""
        if request.match_info.handler == self._proxy.handle:
            return await handler(request)
        fault = self._gateway.faults.take(request.method, request.raw_path)
        try:
            await hit(self._gateway, request, fault)
            response = await handler(request)
        except errors.StorageError as error:
            if request.path != "/token":
                return error_response(error, media=False)
            refusal = errors.TokenError("internal_failure", error.message)
            return web.json_response(refusal.body(), status=error.status, headers=error.headers())
        except Cut:
            return hang_up(request)
        return hang_up(request) if fault and fault.kind == "cut-response" else response

    async def token(self, request: web.Request) -> web.Response:
        """Exchanges a signed assertion for a token."""
        try:
            account, answer = self._gateway.tokens.exchange(await request.post())
        except errors.TokenError as error:
            self._gateway.audit.add("token", None, allowed=False, how="assertion", reason=error.description)
            return web.json_response(error.body(), status=error.status)
        self._gateway.audit.add("token", account.email, allowed=True, how="assertion")
        return web.json_response(answer)

    async def test_permissions(self, request: web.Request) -> web.Response:
        """Tells which of the named permissions the caller holds: needs none itself, as in Google Cloud."""
        access = Access(self._gateway, Wanted("", request.match_info["bucket"]), request.method)
        asked = request.query.getall("permissions", [])
        try:
            access.authenticate(request.headers.get("Authorization", ""))
            await access.require_bucket()
            if unknown := sorted(set(asked) - ALL_PERMISSIONS):
                raise errors.invalid(f"Invalid permission: {unknown[0]}")
        except errors.StorageError as error:
            return error_response(error, media=False)
        held = [permission for permission in asked if access.holds(permission)]
        answer: dict[str, object] = {"kind": "storage#testIamPermissionsResponse"}
        return web.json_response(answer | ({"permissions": held} if held else {}))


async def create_bucket(gateway: Gateway, wait: float = 60.0) -> None:
    """Waits for the storage and creates the bucket, and the one for older versions, unless they are there."""
    deadline = time.monotonic() + wait
    bucket = gateway.settings.bucket
    while True:
        try:
            for name in (bucket, Versions(gateway.store, bucket).hidden):
                async with gateway.store.post("/storage/v1/b", json={"name": name}) as answer:
                    if answer.status not in (200, 409):
                        raise SystemExit(f"gcs: error: the bucket was refused: {answer.status} {await answer.text()}")
            return
        except ClientError as error:
            if time.monotonic() > deadline:
                raise SystemExit(f"gcs: error: the storage does not answer: {error}") from error
            await asyncio.sleep(0.2)


async def serve() -> None:
    """Serves until SIGTERM."""
    config = settings.from_environment()
    known = accounts.load(config.public_keys, config.bucket, config.overwrite)
    # As content comes and goes: no time limit on a whole transfer, and nothing unpacked on the way.
    session = ClientSession(
        config.store, timeout=ClientTimeout(total=None), auto_decompress=False, connector=TCPConnector(limit=0)
    )
    async with session as store:
        gateway = Gateway(config, known, Tokens(known, config.token_seconds), store)
        await create_bucket(gateway)
        admin = web.Application()
        admin.add_routes(Admin(gateway).routes())
        runners = []
        for application, port in ((Api(gateway).application(), API_PORT), (admin, ADMIN_PORT)):
            runner = web.AppRunner(application, access_log=None, auto_decompress=False)
            await runner.setup()
            await web.TCPSite(runner, "0.0.0.0", port).start()  # noqa: S104 - in a container
            runners.append(runner)
        print(f"gcs: gs://{config.bucket} is there; tokens live {config.token_seconds:g} s", flush=True)
        stop = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
        await stop.wait()
        for runner in runners:
            await runner.cleanup()


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    asyncio.run(serve())
