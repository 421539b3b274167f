"""services/mlflow: limits.py: the numbers agree with each other, with compose.yaml and with what MLflow does."""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import pytest
import sqlalchemy
import yaml
from mlflow.exceptions import MlflowException
from mlflow.store.db import utils
from mlflow.store.jobs.sqlalchemy_store import SqlAlchemyJobStore
from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore as Registry
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
from replica_server import limits
from replica_server.patches import shared_pool
from replica_server.settings import Settings

ROOT = Path(__file__).parents[4]
SERVICES = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]


def default(value: object) -> int:
    """Returns the number in a setting of compose.yaml, or its default."""
    number = re.search(r"(\d+)\}?$", str(value))
    assert number
    return int(number[1])


def test_compose_file_agrees() -> None:
    mlflow = SERVICES["mlflow"]
    postgres = [word for word in SERVICES["postgres"]["command"] if word.startswith("max_connections=")]
    assert [default(word) for word in postgres] == [limits.connections()]
    assert limits.processes() <= mlflow["pids_limit"] < 1.5 * limits.processes()
    assert default(mlflow["environment"][limits.WORKERS_SETTING]) == limits.WORKERS
    assert default(mlflow["environment"][limits.BODY_SETTING]) == limits.LARGEST_BODY


class Loader(yaml.SafeLoader):
    """Reads a file that replaces parts of another one."""


def override(loader: Loader, node: Any) -> Any:
    """Returns what is to replace a part."""
    return loader.construct_mapping(node)


Loader.add_constructor("!override", override)


def test_file_for_several_servers_agrees() -> None:
    """Connections for three servers, and the memory that they take; otherwise PostgreSQL is started as for one."""
    several = yaml.load((ROOT / "compose.servers.yaml").read_text(), Loader)["services"]  # noqa: S506 - a SafeLoader
    commands = [services["postgres"]["command"] for services in (SERVICES, several)]
    one, more = (next(word for word in command if "max_connections" in word) for command in commands)
    assert default(more) == limits.connections(servers=3)
    assert [word.replace(more, one) for word in commands[1]] == commands[0]
    megabytes = re.search(r"(\d+)m\}$", several["postgres"]["mem_limit"])
    assert megabytes
    assert int(megabytes[1]) > 1.3 * 2.6 * limits.connections(servers=3)
    # One place more than servers, for the one that takes another's place.
    template = re.search(r"server-template mlflow 1-(\d+)", (ROOT / "services/edge/servers.cfg").read_text())
    assert template
    assert int(template[1]) == limits.MOST_SERVERS + 1


@pytest.mark.parametrize("workers", [1, 2, 12, 64])
def test_pool_is_larger_than_what_its_threads_hold(workers: int) -> None:
    threads = workers + limits.ASYNCHRONOUS + limits.BACKGROUND
    assert limits.pool(workers) > threads * (limits.SESSIONS - 1)
    sizes = limits.environment(workers)
    kept, more = (int(sizes[f"MLFLOW_SQLALCHEMYSTORE_{name}"]) for name in ("POOL_SIZE", "MAX_OVERFLOW"))
    assert kept + more == limits.pool(workers)
    # MLflow takes 0 for "not set".
    assert min(kept, more) > 0


@pytest.mark.parametrize("value", ["0", "-1", "x", "65", "1.5", "9" * 50])
def test_setting_that_is_no_such_number_is_one_line(value: str) -> None:
    with pytest.raises(SystemExit, match=f"^error: MLFLOW_WORKERS is {re.escape(value)}: .*$"):
        Settings.read({limits.WORKERS_SETTING: value})


def postgres(most: int, superuser: int = 3, reserved: int = 0) -> Any:
    """Returns a connection to a PostgreSQL with these settings."""
    connection = MagicMock()
    cursor = connection.cursor.return_value.__enter__.return_value
    cursor.fetchall.return_value = [
        ("max_connections", most),
        ("superuser_reserved_connections", superuser),
        ("reserved_connections", reserved),
    ]
    return connection


def test_enough_connections_are_accepted() -> None:
    """PostgreSQL with enough connections is accepted."""
    limits.check(postgres(limits.connections()))
    limits.check(postgres(limits.pool() + 3))


@pytest.mark.parametrize(("most", "reserved", "fitting"), [(50, 0, 11), (25, 0, 3), (51, 10, 8)])
def test_few_connections_name_what_fits(most: int, reserved: int, fitting: int) -> None:
    """PostgreSQL with few connections is one line with what fits."""
    with pytest.raises(SystemExit, match=rf"^error: .*max_connections {most}.* MLFLOW_WORKERS to {fitting} or less$"):
        limits.check(postgres(most, reserved=reserved))
    limits.check(postgres(most, reserved=reserved), fitting)


def test_hopelessly_few_connections_is_one_line() -> None:
    """PostgreSQL with hopelessly few connections is one line."""
    with pytest.raises(SystemExit, match=r"raise its max_connections to 60$"):
        limits.check(postgres(10))


def test_mlflow_reads_these_variables() -> None:
    from mlflow import environment_variables

    known = {name for name in limits.environment() if name.startswith("MLFLOW_")}
    assert known <= set(dir(environment_variables))


def deepest(store: type) -> int:
    """Returns how many sessions a store opens within each other, by its code."""
    methods = {
        node.name: node
        for node in ast.walk(ast.parse(textwrap.dedent(inspect.getsource(store))))
        if isinstance(node, ast.FunctionDef)
    }

    def depth(node: ast.AST, running: tuple[str, ...]) -> int:
        own = isinstance(node, ast.With) and any("ManagedSessionMaker" in ast.unparse(item) for item in node.items)
        below = [depth(child, running) for child in ast.iter_child_nodes(node)]
        if isinstance(node, ast.Call) and ast.unparse(node.func).startswith("self."):
            called = ast.unparse(node.func).removeprefix("self.")
            if called in methods and called not in running:
                below.append(depth(methods[called], (*running, called)))
        return own + max(below, default=0)

    return max(depth(method, (name,)) for name, method in methods.items())


@pytest.mark.slow
def test_mlflow_nests_no_more_sessions() -> None:
    """A version that nests deeper needs a larger pool."""
    assert deepest(SqlAlchemyStore) == limits.SESSIONS
    assert deepest(Registry) <= limits.SESSIONS


@pytest.fixture
def stores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, new_database: Callable[[Path], str]) -> tuple[Any, Any]:
    """MLflow's stores as the server opens them, in a pool as small as the code says that one request needs."""
    for store in (Registry, SqlAlchemyJobStore):
        monkeypatch.setattr(store, "_engine_map", store._engine_map)
    monkeypatch.setattr(utils, "QueuePool", sqlalchemy.QueuePool)
    monkeypatch.setenv("MLFLOW_SQLALCHEMYSTORE_POOLCLASS", "")
    monkeypatch.delenv("PYTEST_CURRENT_TEST", raising=False)
    shared_pool.apply()
    monkeypatch.setenv("MLFLOW_SQLALCHEMYSTORE_POOL_SIZE", "1")
    monkeypatch.setenv("MLFLOW_SQLALCHEMYSTORE_MAX_OVERFLOW", str(limits.SESSIONS - 1))
    uri = new_database(tmp_path)
    return SqlAlchemyStore(uri, str(tmp_path)), Registry(uri)  # type: ignore[no-untyped-call]


def status(error: Any) -> int:
    """Returns the answer's status."""
    return int(error.get_http_status_code())


def test_stores_share_one_pool(stores: tuple[Any, Any]) -> None:
    tracking, registry = stores
    assert tracking.engine is registry.engine
    assert tracking.engine.pool.size() + tracking.engine.pool._max_overflow == limits.SESSIONS


def test_pool_without_a_free_connection_is_a_503(stores: tuple[Any, Any]) -> None:
    tracking, _ = stores
    tracking.engine.pool._timeout = 0.1
    held = [tracking.engine.connect() for _ in range(limits.SESSIONS)]
    with pytest.raises(MlflowException, match="no connection was free") as refused:
        tracking.get_experiment("0")
    assert status(refused.value) == 503
    for connection in held:
        connection.close()
    assert tracking.get_experiment("0").name == "Default"


def test_text_that_the_driver_refuses_is_a_400(stores: tuple[Any, Any]) -> None:
    tracking, _ = stores

    def refuse(*_: object) -> None:
        raise ValueError("A string literal cannot contain NUL (0x00) characters.")

    sqlalchemy.event.listen(tracking.engine, "before_cursor_execute", refuse)
    with pytest.raises(MlflowException, match="cannot keep: A string literal cannot contain NUL") as refused:
        tracking.get_experiment("0")
    assert status(refused.value) == 400
