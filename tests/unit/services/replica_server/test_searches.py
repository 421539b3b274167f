"""services/mlflow: searches.py: large answers in pieces, which say what MLflow's own say."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import mlflow.server
import pytest
from flask import Flask
from mlflow.entities import (
    Dataset,
    DatasetInput,
    InputTag,
    LoggedModelOutput,
    LoggedModelParameter,
    Metric,
    Param,
    Run,
    RunData,
    RunInfo,
    RunTag,
    ViewType,
)
from mlflow.protos.service_pb2 import SearchRuns
from mlflow.server import handlers
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
from mlflow.utils.search_utils import SearchUtils
from replica_server.patches import searches

RUNS = 7
# What MLflow takes for a number of runs.
VALID = (1, 3, 50_000, "3", 2.0, 2.5)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, new_database: Callable[[Path], str]) -> SqlAlchemyStore:
    """Runs, some that started at the same time, with all that runs can have or nothing; the last but one is deleted."""
    folder = tmp_path_factory.mktemp("store")
    store: Any = SqlAlchemyStore(new_database(folder), str(folder))  # type: ignore[no-untyped-call]
    for number in range(RUNS):
        run_id = store.create_run("0", "someone", 1000 + number // 2, [], f"run {number}").info.run_id
        if number == 3:
            continue
        value = math.nan if number == 2 else number / 7
        store.log_batch(
            run_id,
            [Metric("loss", value, 10 + step, step) for step in range(number + 1)],
            [Param("rate", str(9 - number)), Param("text", 'a "quoted"\nline é')],
            [RunTag("team", "growth")],
        )
        dataset = Dataset("sessions", f"digest {number}", "code", "{}", '{"columns": 3}', "{}")
        store.log_inputs(run_id, [DatasetInput(dataset, [InputTag("mlflow.data.context", "training")])])
        model = store.create_logged_model("0", "model", run_id, params=[LoggedModelParameter("rate", "1")])
        store.log_outputs(run_id, [LoggedModelOutput(model.model_id, 0)])
    store.delete_run(run_ids(store)["run 5"])
    return store  # type: ignore[no-any-return]


@pytest.fixture
def asked(store: SqlAlchemyStore, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Asks MLflow, and what takes its place; returns the status and the content of the answer, in which they agree."""
    monkeypatch.setattr(handlers, "_get_tracking_store", lambda: store)
    monkeypatch.setattr(searches, "RUNS", 2)
    monkeypatch.setattr(searches, "VALUES", 2)
    theirs, ours = mlflow.server.app, Flask("ours")
    for rule in theirs.url_map.iter_rules():
        if rule.endpoint in ("_search_runs", "_get_metric_history"):
            ours.add_url_rule(rule.rule, rule.endpoint, theirs.view_functions[rule.endpoint], methods=rule.methods)
    searches.apply(ours)

    def ask(path: str, **arguments: Any) -> tuple[int, Any]:
        answers = [app.test_client().open(f"/api/2.0/mlflow/{path}", **arguments) for app in (theirs, ours)]
        contents = [answer.json if answer.is_json else answer.text for answer in answers]
        expected, found = [
            (answer.status_code, answer.mimetype, content) for answer, content in zip(answers, contents, strict=True)
        ]
        assert found == expected
        return found[0], found[2]

    return ask


def run_ids(store: Any) -> dict[str, str]:
    return {run.info.run_name: run.info.run_id for run in store.search_runs(["0"], "", ViewType.ALL, 100)}


@pytest.mark.slow
@pytest.mark.parametrize("most", [None, 1, 2, 3, 5, 6, 50_000])
@pytest.mark.parametrize("order", [[], ["metrics.loss DESC"], ["params.rate", "attributes.start_time"]])
@pytest.mark.parametrize("view", [None, "ALL", "DELETED_ONLY"])
def test_runs_in_pieces_are_those_of_one_answer(
    asked: Any, most: int | None, order: list[str], view: str | None
) -> None:
    given = {"max_results": most, "order_by": order, "run_view_type": view}
    body = {"experiment_ids": ["0"], **{name: value for name, value in given.items() if value}}
    found: list[str] = []
    while True:
        status, answer = asked("runs/search", method="POST", json=body)
        assert status == 200
        found += [run["info"]["run_id"] for run in answer["runs"]]
        body["page_token"] = answer.get("next_page_token")
        if not body["page_token"]:
            break
    assert len(found) == len(set(found)) == {None: 6, "ALL": 7, "DELETED_ONLY": 1}[view]


def test_empty_or_wrong_search_equals_mlflow(asked: Any) -> None:
    """A search that finds nothing or is wrong is answered as MLflow answers."""

    def search(**body: Any) -> Any:
        return asked("runs/search", method="POST", json={"experiment_ids": ["0"], **body})

    assert search(filter="metrics.loss > 0.5 AND tags.team = 'growth'")[1].keys() == {"runs"}
    assert search(filter="tags.team = 'other'") == (200, {})
    assert search(experiment_ids=["77"]) == (200, {})
    for wrong in ({"filter": "nonsense"}, {"max_results": 50_001}, {"order_by": ["nonsense"]}, {"max_results": "x"}):
        assert search(**wrong)[0] == 400


@pytest.mark.parametrize(
    "most", [0, -1, -50_000, 50_001, 10**12, "0", "-3", "x", 2.5, None, [3], "", 1, 50_000, "3", 2.0]
)
def test_each_bound_is_answered_as_mlflow_answers(asked: Any, most: object) -> None:
    """Also one that is none: the same runs, or the same refusal in the same words."""
    status, _ = asked("runs/search", method="POST", json={"experiment_ids": ["0"], "max_results": most})
    assert (status == 200) is (most in VALID)


@pytest.mark.parametrize("most", [1, 3, 1000])
def test_token_and_view_equal_mlflow(asked: Any, most: int) -> None:
    """Token and view are answered as MLflow answers."""
    body = {"experiment_ids": ["0"], "max_results": most}
    tokens = [SearchUtils.create_page_token(offset).decode() for offset in (2, 1000)]  # type: ignore[no-untyped-call]
    for token in (*tokens, "", None):
        assert asked("runs/search", method="POST", json={**body, "page_token": token})[0] == 200
    assert asked("runs/search", method="POST", json={**body, "run_view_type": "SOME"})[0] == 200
    assert asked("runs/search", method="POST", json={**body, "page_token": "nonsense"})[0] == 400
    questions: list[dict[str, Any]] = [
        {"experiment_ids": []},
        {"experiment_ids": ["0", "0", "77"]},
        {"filter": "datasets.name = 'sessions'"},
    ]
    for question in questions:
        assert asked("runs/search", method="POST", json={**body, **question})[0] == 200


def test_login_of_mlflows_filters_by_its_own_handlers(store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """MLflow's handler leaves out what the user may not read; a copy of it could leave that out one day."""
    monkeypatch.setattr(handlers, "_get_tracking_store", lambda: store)
    login = ModuleType("mlflow.server.auth")
    login.auth_config = object()  # type: ignore[attr-defined]
    login.filter_experiment_ids = lambda experiments: [name for name in experiments if name != "0"]  # type: ignore[attr-defined]
    application = Flask("login")
    for name in ("_search_runs", "_get_metric_history"):
        application.add_url_rule(f"/{name}", name, mlflow.server.app.view_functions[name], methods=["POST"])
    searches.apply(application)

    def found() -> set[str]:
        answer = application.test_client().post("/_search_runs", json={"experiment_ids": ["0"], "max_results": 1000})
        assert answer.status_code == 200
        return {run["info"]["run_id"] for run in (answer.json or {}).get("runs", [])}

    assert len(found()) == 6
    monkeypatch.setitem(sys.modules, "mlflow.server.auth", login)
    monkeypatch.setattr(mlflow.server, "auth", login, raising=False)
    assert found() == set()


@pytest.mark.parametrize("most", [None, 1, 2, 3, 4, 100])
def test_history_in_pieces_is_that_of_one_answer(asked: Any, store: SqlAlchemyStore, most: int | None) -> None:
    arguments = {"run_id": run_ids(store)["run 6"], "metric_key": "loss"}
    if most:
        arguments["max_results"] = str(most)
    steps: list[int] = []
    while True:
        status, answer = asked("metrics/get-history", query_string=arguments)
        assert status == 200
        steps += [value.get("step") for value in answer["metrics"]]
        if not (token := answer.get("next_page_token")):
            break
        arguments["page_token"] = token
    assert steps == list(range(7))


def test_missing_or_wrong_history_equals_mlflow(asked: Any, store: SqlAlchemyStore) -> None:
    """A history that is not there or is wrong is answered as MLflow answers."""
    run_id = run_ids(store)["run 2"]
    # As old clients ask.
    assert asked("metrics/get-history", query_string={"run_uuid": run_id, "metric_key": "loss"})[1]["metrics"]
    assert asked("metrics/get-history", query_string={"run_id": run_id, "metric_key": "other"}) == (200, {})
    assert asked("metrics/get-history", query_string={"run_id": "f" * 32, "metric_key": "loss"}) == (200, {})
    for wrong in ({}, {"metric_key": "loss", "max_results": "0"}, {"metric_key": "loss", "max_results": "-1"}):
        assert asked("metrics/get-history", query_string={"run_id": run_id, **wrong})[0] == 400


def test_new_runs_do_not_shift_an_answer(store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs that are tracked or removed while an answer is sent do not shift the others."""
    monkeypatch.setattr(handlers, "_get_tracking_store", lambda: store)
    monkeypatch.setattr(searches, "RUNS", 2)
    request = SearchRuns(experiment_ids=["0"], max_results=100)
    before = [run.info.run_id for run in store.search_runs(["0"], "", ViewType.ACTIVE_ONLY, 100)]
    pieces = searches._runs(request)
    found = [run.info.run_id for run in next(pieces)[0]]
    newest = store.create_run("0", "someone", 9999, [], "newest").info.run_id
    store._hard_delete_run(before[3])
    found += [run.info.run_id for entities, _ in pieces for run in entities]
    assert found == [run_id for run_id in before if run_id != before[3]]
    store._hard_delete_run(newest)


def test_content_is_loaded_a_piece_at_a_time(store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[tuple[int, int]] = []
    search: Any = SqlAlchemyStore.search_runs

    def recorded(*arguments: Any, **named: Any) -> Any:
        page = search(*arguments, **named)
        with_content = [
            run
            for run in page
            if any(
                (run.data.metrics, run.data.params, run.data.tags, run.inputs.dataset_inputs, run.outputs.model_outputs)
            )
        ]
        sizes.append((len(page), len(with_content)))
        return page

    runs = len(store.search_runs(["0"], "", ViewType.ACTIVE_ONLY, 100))
    monkeypatch.setattr(SqlAlchemyStore, "search_runs", recorded)
    monkeypatch.setattr(handlers, "_get_tracking_store", lambda: store)
    monkeypatch.setattr(searches, "RUNS", 2)
    assert list(searches._runs(SearchRuns(experiment_ids=["0"], max_results=100)))
    # The run without content is the first of its piece, or the second.
    assert sizes[0] == (runs, 0)
    assert [size for size, _ in sizes[1:]] == [2] * (runs // 2) + [1] * (runs % 2)
    assert sum(with_content for _, with_content in sizes[1:]) >= runs - 1 > 2


def test_place_is_given_back_before_sending() -> None:
    """A place is taken to make a piece and given back before it is sent."""
    free: list[int] = []

    def pieces() -> Iterator[tuple[list[Any], None]]:
        free.append(searches.AT_A_TIME._value)
        yield [Run(RunInfo("0" * 32, "0", "someone", "RUNNING", 0, 0, "active"), RunData())], None

    assert next(searches._written(SearchRuns.Response, "runs", pieces()))
    assert (free, searches.AT_A_TIME._value) == ([1], 2)


def test_slow_client_keeps_no_memory(store: Any) -> None:
    """What a piece was made of is not kept for a client that is slow."""
    pieces = [store.search_runs(["0"], "", ViewType.ALL, 2) for _ in range(2)]
    answer = searches._written(SearchRuns.Response, "runs", ((piece, None) for piece in pieces))
    assert next(answer)
    assert [len(piece) for piece in pieces] == [0, 2]
