"""services/mlflow: each route of the application takes a role, is refused, or is open."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest
from replica_server.people import access
from replica_server.people.roles import Role
from replica_server.requests import routes

PLACEHOLDER = re.compile(r"<[^>]+>|\{[^}]+\}")


def loaded() -> list[tuple[str, str]]:
    """Returns each method and path of MLflow's application, with the placeholders filled."""
    from mlflow.server import app as flask_app
    from mlflow.server.fastapi_app import app

    return sorted({(method, PLACEHOLDER.sub("x", path)) for method, path in routes.methods(app, flask_app)})


def test_each_route_is_in_a_row() -> None:
    found = loaded()
    assert len(found) > 400
    assert [route for route in found if access.find(*route) is None] == []


def test_each_row_is_a_route() -> None:
    """A row that no route of the application has is a mistake, or of another version."""
    found = loaded()
    rows = [row for row in access.ROWS if not row.own]
    unused = [
        row for row in rows if not any(row.method == method and row.path.fullmatch(path) for method, path in found)
    ]
    assert [(row.method, row.path.pattern) for row in unused] == []


def test_health_and_version_alone_are_open() -> None:
    opened = {route for route in loaded() if (row := access.find(*route)) and row.role is None}
    assert opened == {("GET", "/health"), ("GET", "/version")}


def test_page_counts_the_routes() -> None:
    """docs/operators/people.md says how many there are, and what they take."""
    own = [(row.method, row.example) for row in access.ROWS if row.own]
    count = Counter(
        "off" if routes.group(path) else row.role.word if row.role else "open"
        for method, path in loaded() + own
        if (row := access.find(method, path))
    )
    page = " ".join((Path(__file__).parents[5] / "docs/operators/people.md").read_text().split())
    checked = count["viewer"] + count["member"] + count["admin"]
    for words in (
        f"Of {count.total()} routes",
        f"{count['open']} are open",
        f"{checked} are checked: {count['viewer']} take `viewer`, {count['member']} `member`, {count['admin']} `admin`",
        f"{count['off']} are off until",
        f"{sum(bool(row.grant) for row in access.ROWS)} of the rows can be opened by a grant",
    ):
        assert words in page


def test_viewers_change_nothing() -> None:
    """What a viewer may send that is no GET, one by one: each of them reads."""
    allowed = {
        re.sub(r"^.*?mlflow/", "", path)
        for method, path in loaded()
        if method != "GET" and (row := access.find(method, path)) and row.role == Role.VIEWER
    }
    assert allowed == {
        "/graphql",
        "artifacts/presigned-download-url",
        "datasets/search",
        "experiments/search",
        "experiments/search-datasets",
        "issues/search",
        "logged-models/search",
        "registered-models/get-latest-versions",
        "runs/search",
        "traces/batchGetInfos",
        "traces/calculate-filter-correlation",
        "traces/metrics",
        "traces/search",
        "ui-telemetry",
    }


# What makes, deletes or renames something, and is not in the record: tags, and what belongs to evaluations and reviews.
UNRECORDED = {
    "datasets/create",
    "datasets/x/remove-experiments",
    "datasets/x/tags/x",
    "experiments/delete-experiment-tag",
    "label-schemas/create",
    "logged-models/x/tags/x",
    "model-versions/delete-tag",
    "registered-models/delete-tag",
    "review-queues/create",
    "review-queues/get-or-create-user",
    "review-queues/items/remove",
    "traces/x/tags",
}


def test_changes_have_a_name_in_the_record() -> None:
    """Each row that creates, deletes, restores, renames, grants or moves an alias or a stage, but for those above."""
    words = re.compile("create|delete|restore|rename|alias|stage|grant|revoke|remove")
    unnamed = {
        row.example.removeprefix("/api/2.0/mlflow/")
        for row in access.ROWS
        if row.method not in access.READING
        and not row.change
        and (row.method == "DELETE" or row.own or words.search(row.example))
    }
    assert unnamed == UNRECORDED


def test_graphql_changes_nothing() -> None:
    """A viewer may ask it: what it calls mutations are searches, and a word that it says again."""
    from mlflow.server.graphql.graphql_schema_extensions import schema

    (mutation,) = (kind for kind in schema.graphql_schema.type_map.values() if kind.name == "Mutation")
    assert set(mutation.fields) == {"mlflowSearchDatasets", "mlflowSearchRuns", "testMutation"}


def test_extra_routes_are_the_administrators() -> None:
    roles = {access.find(method, path) for method, path in loaded() if routes.group(path)}
    reading = {row for row in roles if row is not None and row.method == "GET"}
    assert {row.role for row in roles - reading if row} == {Role.ADMIN}
    assert len(reading) == len(routes.READ_BY_THE_UI)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/nothing"),
        ("PUT", "/api/2.0/mlflow/runs/create"),
        ("POST", "/api/2.0/mlflow//runs/create"),
        ("POST", "/api/2.0/mlflow/runs/create/"),
        ("POST", "/api/2.0/mlflow/runs/create\n"),
        ("TRACE", "/health"),
    ],
)
def test_what_is_in_no_row_is_nobodys(method: str, path: str) -> None:
    assert access.find(method, path) is None


def test_long_paths_are_not_kept() -> None:
    """Whoever reaches the port would fill the memory with them."""
    before = access._kept.cache_info().misses
    long = "/api/2.0/mlflow-artifacts/artifacts/" + "x" * access.LONGEST_KEPT
    assert access.find("GET", long) == access.find("GET", "/api/2.0/mlflow-artifacts/artifacts/x")
    assert access._kept.cache_info().misses <= before + 1


@pytest.mark.parametrize(
    ("method", "path", "role", "change"),
    [
        ("POST", "/api/2.0/mlflow/runs/log-metric", Role.MEMBER, ""),
        ("HEAD", "/ajax-api/2.0/mlflow/runs/get", Role.VIEWER, ""),
        ("POST", "/api/2.0/mlflow/registered-models/alias", Role.MEMBER, "set-alias"),
        ("DELETE", "/api/2.0/mlflow/model-versions/delete", Role.MEMBER, "delete-version"),
        ("PUT", "/api/2.0/mlflow-artifacts/artifacts/1/run/artifacts/a b", Role.MEMBER, ""),
        ("DELETE", "/people/users/alice", Role.ADMIN, "remove-user"),
    ],
)
def test_row_of_a_request(method: str, path: str, role: Role, change: str) -> None:
    row = access.find(method, path)
    assert row is not None
    assert (row.role, row.change) == (role, change)
