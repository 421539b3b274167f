"""The metadata service of a Google VM, as far as Google's library uses it: the attached account and its tokens."""

from aiohttp import web

from gateway.accounts import PROJECT, email
from gateway.roles import SCOPES
from gateway.state import Gateway

_FLAVOR = {"Metadata-Flavor": "Google"}
_ACCOUNTS = "/computeMetadata/v1/instance/service-accounts"
_SCOPE = "https://www.googleapis.com/auth/cloud-platform"


class Metadata:
    """Its handlers; there only when an account is attached."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._email = email(gateway.settings.attached_account)

    def routes(self) -> list[web.RouteDef]:
        """Returns the routes."""
        return [
            web.get("/", self.ping),
            web.get("/computeMetadata/v1/project/project-id", self.project),
            web.get(_ACCOUNTS + "/{account}/", self.account),
            web.get(_ACCOUNTS + "/{account}/token", self.token),
            web.get("/computeMetadata/{rest:.*}", self.nothing),
        ]

    async def ping(self, _: web.Request) -> web.Response:
        """Says that this is a Google VM."""
        return web.Response(text="computeMetadata/\n", headers=_FLAVOR)

    async def project(self, request: web.Request) -> web.Response:
        """Names the project."""
        self._check(request)
        return web.Response(text=PROJECT, headers=_FLAVOR)

    async def account(self, request: web.Request) -> web.Response:
        """Describes the attached account."""
        self._check(request)
        return web.json_response({"aliases": ["default"], "email": self._email, "scopes": [_SCOPE]}, headers=_FLAVOR)

    async def token(self, request: web.Request) -> web.Response:
        """Issues a token: whoever can ask is on the machine, so there is nothing to sign."""
        self._check(request)
        wanted = [scope for scope in request.query.get("scopes", "").split(",") if scope in SCOPES] or [_SCOPE]
        self._gateway.audit.add("token", self._email, allowed=True, how="metadata")
        account = self._gateway.accounts[self._email]
        return web.json_response(self._gateway.tokens.issue(account, frozenset(wanted)), headers=_FLAVOR)

    async def nothing(self, request: web.Request) -> web.Response:
        """Has no such entry: the library asks for a few that are optional."""
        self._check(request)
        raise web.HTTPNotFound

    def _check(self, request: web.Request) -> None:
        if request.headers.get("Metadata-Flavor") != "Google":
            raise web.HTTPForbidden(text="Missing Metadata-Flavor:Google header.")
        if request.match_info.get("account", "default") not in ("default", self._email):
            raise web.HTTPNotFound
