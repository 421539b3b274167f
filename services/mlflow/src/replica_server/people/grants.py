"""Grants: they raise what a person may do in one experiment, or with one registered model (AUTH=on).

Everyone with a role reads everything, and a grant only raises. So nothing that is read needs a filter, and what is
forgotten here is refused. A request that only a grant could allow reaches the methods of MLflow's stores, which all of
its routes come to. There it is looked up what the request is about. A request that the person's role allows is not
looked at.

Replaces: methods of `SqlAlchemyStore` of tracking and of the registry that change something, each by itself with a
    check before; and the UI's upload. Only with AUTH=on.
Gain: a person may log to one experiment, or release one model, without being that everywhere.
Upstream: MLflow's own permissions have such grants (docs/operators/people.md says why they are not used).
Test: test_grants.py; tests/integration/test_grants.py.
Goes when: MLflow's own permissions cost a metric no statement.
"""

import functools
import inspect
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import flask
from mlflow.server import handlers
from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore as RegistryStore
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore as TrackingStore

from replica_server.patches.replace import replace
from replica_server.people.changed_objects import NEW, REGISTRY, STATEMENTS, TRACKING, Values, writing
from replica_server.people.directory import Directory
from replica_server.people.identity import forbidden
from replica_server.people.roles import EXPERIMENT, MODEL, Asking, Object, asking
from replica_server.requests import routes

# What stays in the experiment that it was made in; and how many of these are remembered, some 300 bytes each.
STAYS, REMEMBERED = ("run", "logged-model"), 8192
ARTIFACT = re.compile(routes.API + r"/?mlflow-artifacts/(?:artifacts|mpu/[^/]+)/([^/]+)/.*", re.DOTALL)


class Grants:
    """The checks.

    Args:
        directory: The database.
    """

    def __init__(self, directory: Directory) -> None:
        self.directory = directory
        self._remembered = functools.lru_cache(REMEMBERED)(self._look_up)

    def apply(self, app: flask.Flask) -> None:
        """Puts them around the methods of MLflow's stores, and the UI's upload: outside of those of guards.py."""
        for store, known in ((TrackingStore, TRACKING), (RegistryStore, REGISTRY)):
            for name in sorted({*writing(store), *known}):
                # What is not known here is refused.
                replace(store, name, functools.partial(self._around, find=known.get(name, lambda _: [])))
        replace(app.view_functions, "serve_upload_artifact", self._upload)

    def _around(self, theirs: Callable[..., Any], find: Callable[[Values], Iterable[Object]]) -> Callable[..., Any]:
        signature = inspect.signature(theirs)

        @functools.wraps(theirs)
        def granted(*arguments: Any, **options: Any) -> Any:
            request = asking.get()
            if request is None and flask.has_request_context():
                raise forbidden("Nobody is known to ask for this")
            if request is None or request.needs is None:
                return theirs(*arguments, **options)
            bound = signature.bind(*arguments, **options)
            bound.apply_defaults()
            self.check(request, find(bound.arguments))
            # What it asks of other methods belongs to it.
            needs, request.needs = request.needs, None
            try:
                return theirs(*arguments, **options)
            finally:
                request.needs = needs

        return granted

    def _upload(self, theirs: Callable[[], Any]) -> Callable[[], Any]:
        @handlers.catch_mlflow_exception  # type: ignore[untyped-decorator]
        def upload() -> Any:
            request = asking.get()
            if request is not None and request.needs is not None:
                self.check(request, [("run", flask.request.args.get("run_uuid", ""))])
            return theirs()

        return upload  # type: ignore[no-any-return]

    def check(self, request: Asking, objects: Iterable[Object]) -> None:
        """Refuses what the person may change neither by their role nor by a grant.

        Raises:
            MlflowException: With status 403; with 503 when the database cannot be asked.
        """
        found = list(objects)
        for kind, key in found:
            places = [(kind, key)] if kind in (EXPERIMENT, MODEL) else list(self._experiments(kind, key))
            if not (places or kind.startswith(NEW)) or not all(_may(request, place) for place in places):
                what = f"{kind.removeprefix(NEW)} {key}"
                request.objects.append(what)
                raise _refusal(request, what)
        if not found:
            raise _refusal(request, "this")

    def _experiments(self, kind: str, key: str) -> Iterator[Object]:
        if kind in STAYS:
            try:
                yield EXPERIMENT, self._remembered(kind, key)
            except LookupError:
                return
        else:
            for (experiment,) in self.directory.ask(STATEMENTS[kind], key):
                yield EXPERIMENT, str(experiment)

    def _look_up(self, kind: str, key: str) -> str:
        # What is not there is not remembered: it may come.
        for (experiment,) in self.directory.ask(STATEMENTS[kind], key):
            return str(experiment)
        raise LookupError


def _may(request: Asking, place: Object) -> bool:
    return request.needs is not None and request.role_on(*place) >= request.needs


def _refusal(request: Asking, what: str) -> Exception:
    person, needs = request.person, request.needs
    return forbidden(
        f"{person.name} has the role {person.role.word}, and this takes {needs.word if needs else ''}:"
        f" no grant of theirs is for {what}"
    )


def check_artifact(request: Asking, path: str) -> None:
    """Refuses to write an artifact into an experiment without a grant; artifacts come to no store.

    Args:
        request: Whose grants count.
        path: The request's. The first part of an artifact's name is its experiment's id, unless the experiment keeps
            them at an address of its own: then no grant is for them.

    Raises:
        MlflowException: With status 403.
    """
    found = ARTIFACT.fullmatch(path)
    if not found or not _may(request, (EXPERIMENT, found[1])):
        raise _refusal(request, f"artifacts below {found[1]}" if found else "this")
