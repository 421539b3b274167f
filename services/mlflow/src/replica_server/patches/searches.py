"""Answers searches for runs and histories of metrics in pieces, so that memory does not grow with their size.

MLflow makes an answer as a whole, which takes 100 KiB a run: a page of mlflow.search_runs (10,000 runs), or five
clients that ask for 1,000 at once, would end the server at its container's limit, and whatever is being tracked.

The runs, their order, the token of the next page and the errors are MLflow's, whatever the request: the same store
answers the same question. Three things differ. The JSON is compact and comes without its length. A run that is removed
for good while an answer is sent is left out, and values that are logged meanwhile with an earlier time can shift a
history's. Where MLflow's own login is loaded (`mlflow.server.auth`), which filters by permissions, MLflow's handlers
answer.

Replaces: `mlflow.server.handlers._search_runs` and `_get_metric_history` (the views of these names).
Gain: three searches for 1,000 runs at once take 47 MiB instead of 220; one for 10,000 runs takes 22 MiB, and without
    this it ends the server.
Upstream: mlflow#23702 (open): histories end the server; mlflow#5050 (open): smaller pages of runs.
Test: test_searches.py; tests/integration/test_load.py.
Goes when: MLflow bounds what it holds of an answer.
"""

import copy
import sys
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain
from typing import Any

from flask import Flask, Response
from mlflow.entities import RunData, ViewType
from mlflow.exceptions import MlflowException
from mlflow.protos.service_pb2 import GetMetricHistory, SearchRuns
from mlflow.server import handlers
from mlflow.utils.proto_json_utils import message_to_json

from replica_server.patches.replace import replace

# How many runs, and values of a metric, are in memory at a time.
RUNS = 250
VALUES = 25_000
# How many pieces are made at a time: each keeps a processor busy, and small requests wait for their turn. Pages of a
# few runs have places of their own: two at a time, among all the server's threads, kept 64 clients waiting for 20 s.
AT_A_TIME = threading.Semaphore(2)
FEW, FEW_AT_A_TIME = 100, threading.Semaphore(6)

# Runs or values, and with the last of them the token of the page after this one.
Pieces = Iterator[tuple[list[Any], Any]]


def apply(app: Flask) -> None:
    """Puts the answers here in the place of MLflow's."""
    replace(app.view_functions, "_search_runs", lambda theirs: _unless_login(theirs, _search_runs))
    replace(app.view_functions, "_get_metric_history", lambda theirs: _unless_login(theirs, _get_metric_history))


def _unless_login(theirs: Callable[[], Response], ours: Callable[[], Response]) -> Callable[[], Response]:
    """Returns what answers as MLflow does where its login is loaded, and in pieces elsewhere."""
    return lambda: theirs() if "mlflow.server.auth" in sys.modules else ours()


@handlers.catch_mlflow_exception  # type: ignore[untyped-decorator]
def _search_runs() -> Response:
    request = handlers._get_request_message(  # type: ignore[no-untyped-call]
        SearchRuns(),
        schema={
            "experiment_ids": [handlers._assert_array],
            "filter": [handlers._assert_string],
            "max_results": [
                handlers._assert_intlike,
                lambda value: handlers._assert_less_than_or_equal(int(value), 50_000),  # type: ignore[no-untyped-call]
            ],
            "order_by": [handlers._assert_array, handlers._assert_item_type_string],
        },
    )
    places = FEW_AT_A_TIME if request.max_results <= FEW else AT_A_TIME
    return _streamed(SearchRuns.Response, "runs", _runs(request), places)


@handlers.catch_mlflow_exception  # type: ignore[untyped-decorator]
def _get_metric_history() -> Response:
    request = handlers._get_request_message(  # type: ignore[no-untyped-call]
        GetMetricHistory(),
        schema={
            "run_id": [handlers._assert_string, handlers._assert_required],
            "metric_key": [handlers._assert_string, handlers._assert_required],
            "page_token": [handlers._assert_string],
        },
    )
    return _streamed(GetMetricHistory.Response, "metrics", _values(request), AT_A_TIME)


def _streamed(kind: Any, field: str, pieces: Pieces, places: threading.Semaphore) -> Response:
    """Returns an answer of this kind, with this field. The first piece is made now, so that errors are answers too."""
    written = _written(kind, field, pieces, places)
    return Response(chain([next(written)], written), mimetype="application/json")


def _written(kind: Any, field: str, pieces: Pieces, places: threading.Semaphore = AT_A_TIME) -> Iterator[str]:
    opening, token = f'{{"{field}":[', None
    while True:
        # Not while the client takes its time.
        with places:
            piece = next(pieces, None)
            if piece is None:
                break
            entities, token = piece
            text = ",".join(message_to_json(entity.to_proto(), pretty=False) for entity in entities)
            # They are many times the size of the text, and the client may never read it.
            entities.clear()
        if text:
            yield opening + text
            opening = ","
    ending = message_to_json(kind(next_page_token=token), pretty=False)
    # A field that is empty is left out, as MLflow does.
    yield ending if opening != "," else "]" + ("," if token else "") + ending.removeprefix("{")


def _runs(request: Any) -> Pieces:
    store: Any = handlers._get_tracking_store()
    experiments = list(request.experiment_ids)

    def search(store: Any) -> Any:
        return store.search_runs(
            experiment_ids=experiments,
            filter_string=request.filter,
            run_view_type=ViewType.from_proto(request.run_view_type),
            max_results=request.max_results,
            order_by=request.order_by,
            page_token=request.page_token or None,
        )

    if request.max_results <= RUNS:
        page = search(store)
        yield page, page.token
        return
    # One question decides which runs, and their order, whatever is tracked while they are sent.
    page = search(_with_ids_alone(store))
    ids, token = [run.info.run_id for run in page], page.token
    del page
    for start in range(0, len(ids), RUNS):
        yield _with_content(store, experiments, ids[start : start + RUNS]), token


def _with_content(store: Any, experiments: list[str], ids: list[str]) -> list[Any]:
    """Returns the runs of these ids, in their order; those that have been removed are left out."""
    condition = "attributes.run_id IN ({})".format(",".join(f"'{run_id}'" for run_id in ids))
    found = {run.info.run_id: run for run in store.search_runs(experiments, condition, ViewType.ALL, RUNS)}
    return [found[run_id] for run_id in ids if run_id in found]


class RunId:
    """A run of which nothing but its id has been read.

    Args:
        run_id: Its id.
    """

    __slots__ = ("run_id",)
    data = RunData()

    def __init__(self, run_id: str) -> None:
        self.run_id = run_id

    @property
    def info(self) -> "RunId":
        """Returns what has the run's id."""
        return self

    def to_mlflow_entity(self) -> "RunId":
        """Returns itself; MLflow's row would read all that belongs to the run."""
        return self


class IdsAlone:
    """A session of the database in which a search for runs finds their ids.

    Args:
        session: MLflow's session.
    """

    def __init__(self, session: Any) -> None:
        self._session = session

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    def execute(self, statement: Any) -> "IdsAlone":
        """Asks MLflow's question; of each row that comes, the id is kept."""
        options = {"stream_results": True}
        rows = self._session.connection().execute(statement, execution_options=options)
        self._found = [RunId(row.run_uuid) for row in rows]
        return self

    def scalars(self, _: Any) -> "IdsAlone":
        """Returns what has been found."""
        return self

    def all(self) -> list[RunId]:
        """Returns what has been found."""
        return self._found


def _with_ids_alone(store: Any) -> Any:
    """Returns a store like this one, whose search for runs reads their ids alone: 50,000 runs would take 350 MiB."""

    @contextmanager
    def session(*arguments: Any, **options: Any) -> Iterator[IdsAlone]:
        with store.ManagedSessionMaker(*arguments, **options) as managed:
            yield IdsAlone(managed)

    bare = copy.copy(store)
    bare.ManagedSessionMaker = session
    bare._get_run_inputs = lambda run_uuids, **_: [[] for _ in run_uuids]
    bare._get_model_outputs_bulk = lambda **_: defaultdict(list)
    return bare


def _values(request: Any) -> Pieces:
    store: Any = handlers._get_tracking_store()
    most = request.max_results if request.HasField("max_results") else None
    if most is not None and most <= 0:
        raise MlflowException.invalid_parameter_value(
            f"Invalid value {most} for parameter 'max_results' supplied. It must be a positive integer."
        )
    token = request.page_token or None
    while True:
        piece = VALUES if most is None else min(most, VALUES)
        page = store.get_metric_history(
            request.run_id or request.run_uuid, request.metric_key, max_results=piece, page_token=token
        )
        token = page.token
        if most is not None:
            most -= piece
        yield page, token
        if not token or most == 0:
            return
