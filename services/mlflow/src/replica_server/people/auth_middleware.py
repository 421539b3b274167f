"""The first middleware that a request meets when AUTH is on: it finds out who sends it, and whether they may.

It stands before everything else, so that nothing of this stack or MLflow reads what a stranger sends. A route that has
no row in the table of routes is answered with 404, whoever asks.
"""

import functools
import sys

from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import ENDPOINT_NOT_FOUND
from starlette.types import ASGIApp, Receive, Scope, Send

from replica_server.people import access, console, grants, identity
from replica_server.people.admin_host import AdminHost
from replica_server.people.cache import PeopleCache
from replica_server.people.directory import Directory
from replica_server.people.permissions import ROUTE, Permissions
from replica_server.people.record import Record, Recorded
from replica_server.people.roles import EXPERIMENT, MODEL, Asking, Object, Person, Role, asking
from replica_server.requests import answers

UNAUTHORIZED = 401


def address_of(scope: Scope) -> str:
    """Returns the client's address: the proxy's word where it has proven itself, else the connection's."""
    headers = dict(scope["headers"])
    # A wrong proof has been refused before (identity.py).
    if identity.PROOF in headers and b"x-forwarded-for" in headers:
        return str(headers[b"x-forwarded-for"].decode("latin-1").rpartition(",")[2].strip())
    return scope["client"][0] if scope.get("client") else ""


def refused(request: Asking, row: access.Row, path: str) -> MlflowException | None:
    """Returns why a request goes no further; None when it does, perhaps to where grants.py looks what it is about."""
    person = request.person
    if request.needs is None:
        return None
    if not request.grants:
        return identity.forbidden(f"{person.name} has the role {person.role.word}, and this takes {request.needs.word}")
    if row.grant == "artifact":
        try:
            grants.check_artifact(request, path)
        except MlflowException as error:
            return error
    return None


class AuthMiddleware:
    """The middleware, as an ASGI application around another one.

    Args:
        app: The other one.
        proofs: What names are known by.
        known: What the database says of people.
        directory: The database.
        record: The record of changes.
        admin_host: The host of MLflow's admin page.
    """

    def __init__(
        self,
        app: ASGIApp,
        proofs: identity.Proofs,
        known: PeopleCache,
        directory: Directory,
        record: Record,
        admin_host: AdminHost,
    ) -> None:
        self.app = app
        self.proofs = proofs
        self.record = record
        self.known = known
        self.console = console.Console(directory, known.forget)
        self.admin_host = admin_host
        self.permissions = Permissions(directory, known.forget, admin_host)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes a request on, or refuses it."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1000})
            return
        method, path = scope["method"], scope["path"]
        row = access.find(method, path)
        if row is not None and row.role is None:
            await self.app(scope, receive, send)
            return
        try:
            person = await identity.identify(scope["headers"], self.proofs, self.known)
            if row is None:
                raise MlflowException(f"There is no route {method} {path}", error_code=ENDPOINT_NOT_FOUND)
            self.admin_host.check(scope)
            send = self.admin_host.sending(scope, send)
            request = await self._asking(person, row)
        except MlflowException as error:
            await self._refuse(error, scope, receive, send)
            return
        before = asking.set(request), answers.on_status.set(request.begins)
        recorded, failed = None, True
        try:
            if row.change and method not in access.READING:
                recorded = send = self._recorded(request, row, scope, send)
            if refusal := refused(request, row, path):
                await self._refuse(refusal, scope, receive, send)
            elif path.startswith("/people/"):
                await self.console(scope, receive, send)
            elif ROUTE.fullmatch(path):
                await self.permissions(scope, receive, send)
            else:
                await self.app(scope, receive, send)
            failed = False
        finally:
            asking.reset(before[0])
            answers.on_status.reset(before[1])
            if recorded is not None:
                await recorded.end(failed)

    async def _asking(self, person: Person, row: access.Row) -> Asking:
        """Returns what is known of a request before it is answered: with the person's grants, where they may matter."""
        lacks = row.role is not None and person.role < row.role
        kind = EXPERIMENT if row.grant == "artifact" else row.grant
        # Those for a model also let more of a member's requests through.
        found: dict[Object, Role] = {}
        if kind and (lacks or (kind == MODEL and person.role < Role.RELEASE)):
            found = await self.known.grants(person.name)
        theirs = {one: role for one, role in found.items() if one[0] == kind}
        return Asking(person, grants=theirs, needs=row.role if lacks else None)

    async def _refuse(self, error: MlflowException, scope: Scope, receive: Receive, send: Send) -> None:
        answer = answers.refusal(error)
        if answer.status_code == UNAUTHORIZED:
            # Not in the log: a browser's first request is one.
            answer.headers["WWW-Authenticate"] = 'Basic realm="MLflow"'
        elif said := answers.line(scope["method"], scope["path"], answer.status_code, bytes(answer.body)):
            sys.stderr.write(f"{said}\n")
        await answer(scope, receive, send)

    def _recorded(self, request: Asking, row: access.Row, scope: Scope, send: Send) -> Recorded:
        """Returns a `send` that records the change."""
        write = functools.partial(self.record.write, request, address_of(scope), row.change, scope["path"])
        return Recorded(request, send, write, perhaps=row.perhaps)
