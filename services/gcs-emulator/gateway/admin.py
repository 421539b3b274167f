"""The admin endpoint, on a port of its own: faults, expired credentials, changed roles, and the audit log.

POST   /faults           add a fault (JSON: gateway.faults.Fault)     GET lists, DELETE removes all
POST   /expire-tokens    every issued token is invalid from now on
PUT    /token-seconds    the lifetime of tokens issued from now on (JSON number)
PUT    /accounts/NAME    give the account exactly these {"roles": […], "permissions": […]} on the bucket; with
                         "project": true in the whole project
DELETE /accounts/NAME    give it its own roles, and its key, again
DELETE /accounts/NAME/key   revoke its key: no new tokens
GET    /audit            the audit log as JSON lines                  DELETE empties it
GET    /health           healthy when the storage behind answers
"""

from typing import Any

from aiohttp import ClientError, web

from gateway import roles
from gateway.accounts import ACCOUNTS, Account, email
from gateway.faults import parse
from gateway.state import Gateway


class Admin:
    """Its handlers."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    def routes(self) -> list[web.RouteDef]:
        """Returns the routes."""
        return [
            web.get("/faults", self.list_faults),
            web.post("/faults", self.add_fault),
            web.delete("/faults", self.clear_faults),
            web.post("/expire-tokens", self.expire_tokens),
            web.put("/token-seconds", self.set_token_seconds),
            web.put("/accounts/{name}", self.set_account),
            web.delete("/accounts/{name}", self.reset_account),
            web.delete("/accounts/{name}/key", self.revoke_key),
            web.get("/audit", self.audit),
            web.delete("/audit", self.clear_audit),
            web.get("/health", self.health),
        ]

    async def list_faults(self, _: web.Request) -> web.Response:
        """Lists the faults that wait."""
        return web.json_response(self._gateway.faults.listed())

    async def add_fault(self, request: web.Request) -> web.Response:
        """Adds one."""
        try:
            self._gateway.faults.add(parse(await self._document(request)))
        except ValueError as error:
            raise web.HTTPBadRequest(text=str(error)) from error
        return web.Response(status=204)

    async def clear_faults(self, _: web.Request) -> web.Response:
        """Removes all."""
        self._gateway.faults.clear()
        return web.Response(status=204)

    async def expire_tokens(self, _: web.Request) -> web.Response:
        """Ends all tokens."""
        return web.json_response({"expired": self._gateway.tokens.expire_all()})

    async def set_token_seconds(self, request: web.Request) -> web.Response:
        """Changes the lifetime of new tokens."""
        seconds = await self._document(request)
        if type(seconds) not in (int, float) or not 0 < seconds < float("inf"):
            raise web.HTTPBadRequest(text="the lifetime is a number of seconds, more than 0")
        self._gateway.tokens.seconds = float(seconds)
        return web.Response(status=204)

    async def set_account(self, request: web.Request) -> web.Response:
        """Changes what an account may do."""
        document = await self._document(request)
        if not isinstance(document, dict):
            raise web.HTTPBadRequest(text='an account is {"roles": […], "permissions": […]}')
        permissions = frozenset(document.get("permissions", []))
        try:
            wanted = roles.of_roles(document.get("roles", [])) | permissions
        except KeyError as error:
            raise web.HTTPBadRequest(text=f"unknown role {error}") from error
        if not permissions <= roles.ALL_PERMISSIONS:
            raise web.HTTPBadRequest(text=f"unknown permissions {sorted(permissions - roles.ALL_PERMISSIONS)}")
        account = self._account(request)
        account.permissions, account.project = wanted, bool(document.get("project"))
        return web.Response(status=204)

    async def revoke_key(self, request: web.Request) -> web.Response:
        """Refuses assertions that the account's key has signed."""
        self._account(request).revoked = True
        return web.Response(status=204)

    async def reset_account(self, request: web.Request) -> web.Response:
        """Undoes that."""
        self._account(request).reset()
        return web.Response(status=204)

    async def audit(self, _: web.Request) -> web.Response:
        """Returns the audit log."""
        return web.Response(text=self._gateway.audit.lines(), content_type="application/jsonl")

    async def clear_audit(self, _: web.Request) -> web.Response:
        """Empties it."""
        self._gateway.audit.clear()
        return web.Response(status=204)

    async def health(self, _: web.Request) -> web.Response:
        """Asks the storage."""
        try:
            async with self._gateway.store.get(f"/storage/v1/b/{self._gateway.settings.bucket}") as answer:
                return web.Response(status=200 if answer.status == 200 else 503)
        except ClientError:
            return web.Response(status=503)

    async def _document(self, request: web.Request) -> Any:
        try:
            return await request.json()
        except ValueError as error:
            raise web.HTTPBadRequest(text=f"the body is no JSON: {error}") from error

    def _account(self, request: web.Request) -> Account:
        if request.match_info["name"] not in ACCOUNTS:
            raise web.HTTPNotFound(text=f"there are {', '.join(ACCOUNTS)}")
        return self._gateway.accounts[email(request.match_info["name"])]
