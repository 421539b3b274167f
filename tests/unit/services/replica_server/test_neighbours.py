"""services/mlflow: neighbours.py: servers on one database open no more connections than it accepts."""

from __future__ import annotations

from typing import Any
from unittest.mock import MagicMock

import pytest
from replica_server import limits, neighbours
from replica_server.settings import Settings


def database(earlier: int, most: int) -> Any:
    """Returns a connection to a PostgreSQL of so many connections, on which so many servers are already."""
    connection = MagicMock()
    cursor = connection.cursor.return_value.__enter__.return_value
    cursor.fetchall.return_value = [("max_connections", most), ("superuser_reserved_connections", 3)]
    cursor.fetchone.return_value = (earlier,)
    return connection


def settings(**environment: str) -> Settings:
    """Returns the settings in this environment."""
    return Settings.read(environment)


def test_connections_carry_the_containers_name() -> None:
    environment: dict[str, str] = {}
    neighbours.name_connections(environment)
    assert environment["PGAPPNAME"].startswith("mlflow-server ")


@pytest.mark.parametrize("servers", [2, 3, 7])
def test_as_many_as_planned_and_one_more_start(servers: int) -> None:
    """So many servers, and the one that takes another's place, fit into what is asked of PostgreSQL."""
    most = limits.connections(servers=servers)
    planned = settings(MLFLOW_SERVERS=str(servers))
    limits.check(database(0, most), servers=servers)
    for earlier in range(servers + 1):
        neighbours.check(database(earlier, most), planned)
    with pytest.raises(SystemExit, match=rf"^error: {servers + 2} servers are on this database, .* to \d+$"):
        neighbours.check(database(servers + 1, most), planned)
    with pytest.raises(SystemExit, match=rf"^error: .* and {servers} servers of 12 workers.* to {most}, or lower "):
        limits.check(database(0, most - 1), servers=servers)


def test_second_beside_a_single_one_is_warned_of(capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever scales the stack without the file for it learns of the file."""
    neighbours.check(database(0, 60), settings())
    neighbours.check(database(1, 164), settings())
    assert capsys.readouterr().out == ""
    neighbours.check(database(1, 60), settings())
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("mlflow: warning: 2 servers are on this database, which accepts 57 connections")
    assert "compose.servers.yaml" in line


@pytest.mark.parametrize(("name", "value"), [("MLFLOW_SERVERS", "0"), ("MLFLOW_SERVERS", "8"), ("MLFLOW_DRAIN", "61")])
def test_setting_out_of_range_is_one_line(name: str, value: str) -> None:
    with pytest.raises(SystemExit, match=rf"^error: {name} is {value}: it has to be a whole number from \d to \d+$"):
        settings(**{name: value})
