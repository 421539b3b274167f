"""The role table: what each role holds and, as much to the point, what it does not."""

from __future__ import annotations

import pytest
from gateway import roles
from gateway.accounts import ACCOUNTS, WRITER, Account


@pytest.mark.parametrize(
    ("overwrite", "held"),
    [
        ("refuse", {roles.CREATE, roles.GET, roles.LIST}),
        ("allow", {roles.CREATE, roles.DELETE, roles.GET, roles.LIST, roles.UPDATE}),
    ],
)
def test_writers_roles_follow_the_setting(overwrite: str, held: set[str]) -> None:
    """Without overwriting, the server and direct clients create, read and list; replacing needs to delete."""
    assert roles.of_roles(WRITER[overwrite]) == held


@pytest.mark.parametrize("role", ["roles/storage.objectCreator", "roles/storage.objectViewer"])
@pytest.mark.parametrize("permission", [roles.DELETE, roles.UPDATE, roles.BUCKET_GET, roles.OBJECT_SET_POLICY])
def test_the_servers_roles_cannot(role: str, permission: str) -> None:
    assert permission not in roles.ROLES[role]


def test_gc_role_deletes_objects_only() -> None:
    """Garbage collection deletes objects and cannot touch the bucket."""
    held = roles.of_roles(ACCOUNTS["mlflow-gc"])
    assert {roles.DELETE, roles.GET, roles.LIST} <= held
    assert not any(permission.startswith("storage.buckets.") for permission in held)


def test_roles_hold_on_a_bucket_or_a_project(accounts: dict[str, Account]) -> None:
    """Roles are held on one bucket or in the project."""
    (server,) = accounts.values()
    assert server.permissions_on("bucket") == roles.of_roles(WRITER["allow"])
    assert server.permissions_on("another") == server.permissions_on("") == frozenset()
    server.project = True
    assert server.permissions_on("another") == server.permissions_on("") == server.permissions


def test_an_unknown_role_is_an_error() -> None:
    with pytest.raises(KeyError):
        roles.of_roles(["roles/storage.objectCreater"])


def test_a_read_only_scope_carries_no_writing() -> None:
    held = roles.of_scopes(["https://www.googleapis.com/auth/devstorage.read_only"])
    assert roles.GET in held
    assert not {roles.CREATE, roles.DELETE, roles.UPDATE} & held


def test_an_unknown_scope_carries_nothing() -> None:
    assert roles.of_scopes(["https://www.googleapis.com/auth/drive"]) == frozenset()
