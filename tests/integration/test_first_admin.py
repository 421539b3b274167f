"""A first start with AUTH=on has an administrator, whose made-up password is shown once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from .conftest import NewStack
from .people import AUTH_ON, PASSWORD, authority_of, user
from .stack import Stack, StackError, wait_until

GONE = "user: error: no first password is kept: it was shown, or there was an administrator; "
NOBODY = "mlflow: warning: nobody has the role admin yet: docker compose exec proxy user first-admin, or user add NAME"


@pytest.fixture(scope="module")
def stack(new_stack: NewStack) -> Iterator[Stack]:
    """A stack with a login everywhere, right after its first start."""
    with new_stack(settings=AUTH_ON) as made:
        made.up()
        yield made


def kept(stack: Stack) -> list[str]:
    """Returns what is in the folder of the first administrator's password."""
    return stack.read("proxy", "bash", "-c", "ls /run/secrets/admin; echo").split()


def show(stack: Stack) -> tuple[str, str]:
    """Has the password shown; returns the name and it. By a file: a busy engine may lose what is printed once."""
    stack.exec("proxy", "bash", "-c", "cd /tmp && user first-admin >shown")
    name, password = stack.read("proxy", "bash", "-c", "cat /tmp/shown").split()
    return name, password


def refusal(stack: Stack) -> str:
    """Returns the line with which the password is not shown."""
    code, said = stack.refusal("proxy", "user", "first-admin")
    assert code == 2
    assert said.count("\n") == 1
    return said


def me(stack: Stack, folder: Path, name: str, password: str) -> str:
    """Returns who the server says that a login at the proxy is."""
    authority = authority_of(stack, folder)
    address = f"https://localhost:{stack.port('proxy', 443)}/people/me"
    return requests.get(address, auth=(name, password), verify=authority, timeout=60).text.strip()


def start_anew(stack: Stack) -> None:
    """Starts the stack as if it had never made up such a password: as one of an earlier version."""
    stack.exec("proxy", "bash", "-c", "rm -f /run/secrets/admin/*")
    stack.compose("rm", "--stop", "--force", "secrets", "proxy")
    stack.up()


def without_admins(stack: Stack, command: str = "") -> None:
    """Takes the roles of all administrators, and their logins as well, or runs a command in the proxy instead."""
    stack.sql("DELETE FROM people.users WHERE role = 'admin'")
    stack.exec("proxy", "bash", "-c", command or "sed -i '/^a/d' /data/users")


def test_first_password_is_shown_once(stack: Stack, tmp_path: Path) -> None:
    """It opens the account admin with the role; no log has it, a second call and a second start show nothing."""
    assert stack.logs("mlflow").count(NOBODY) == 1
    wait_until(lambda: user(stack, "list") == "admin admin", "the account is there")
    assert kept(stack) == ["password"]
    name, password = show(stack)
    assert len(password) >= 32
    wait_until(lambda: me(stack, tmp_path, name, password) == "admin admin", "the administrator logs in")
    assert kept(stack) == ["closed"]
    assert refusal(stack).startswith(GONE)
    stack.compose("rm", "--stop", "--force", "secrets", "proxy", "mlflow")
    stack.up()
    assert kept(stack) == ["closed"]
    assert refusal(stack).startswith(GONE)
    assert me(stack, tmp_path, name, password) == "admin admin"
    assert NOBODY not in stack.logs("mlflow")
    assert password not in stack.logs()
    assert all(password not in str(row) for row in stack.sql("SELECT * FROM people.record"))


def test_administrators_get_no_other(stack: Stack) -> None:
    """A stack that was there before, with administrators: nothing is added, and nothing is shown."""
    without_admins(stack)
    user(stack, "add", "ada", "--role", "admin", password=PASSWORD)
    start_anew(stack)
    wait_until(lambda: kept(stack) == ["closed"], "the password is thrown away")
    assert user(stack, "list") == "ada admin"
    assert refusal(stack).startswith(GONE)


def test_half_made_account_is_finished(stack: Stack, tmp_path: Path) -> None:
    """Ended between role and password, the next start goes on."""
    without_admins(stack)
    stack.sql("INSERT INTO people.users (name, role) VALUES ('admin', 'admin')")
    start_anew(stack)
    name, password = show(stack)
    wait_until(lambda: me(stack, tmp_path, name, password) == "admin admin", "the administrator logs in")


def test_own_password_is_not_shown_over(stack: Stack, tmp_path: Path) -> None:
    """Who gives the account another password before the made-up one was shown does not see it any more."""
    without_admins(stack)
    start_anew(stack)
    wait_until(lambda: user(stack, "list") == "admin admin", "the account is there")
    user(stack, "add", "admin", password=PASSWORD)
    assert refusal(stack).startswith(GONE)
    wait_until(lambda: me(stack, tmp_path, "admin", PASSWORD) == "admin admin", "the administrator logs in")
    assert kept(stack) == ["closed"]


def test_login_of_somebody_is_left_alone(stack: Stack) -> None:
    """A login `admin` of the time before roles does not become the administrator's."""
    user(stack, "add", "admin", password=PASSWORD)
    without_admins(stack, "true")
    start_anew(stack)
    line = "user: error: nobody is an administrator, and the login admin is somebody's already: user role NAME admin "
    assert refusal(stack).startswith(line)
    assert user(stack, "list") == "admin no-role"


def test_server_away_is_one_line(stack: Stack) -> None:
    """Nothing is shown, and nothing is lost."""
    without_admins(stack)
    stack.exec("proxy", "bash", "-c", "rm -f /run/secrets/admin/closed")
    stack.compose("stop", "mlflow")
    try:
        assert refusal(stack).startswith("user: error: the server does not answer: nothing is changed")
        assert kept(stack) == ["password"]
    finally:
        stack.compose("start", "mlflow")
        stack.wait_healthy()
    assert show(stack)[0] == "admin"
    with pytest.raises(StackError, match="no first password is kept"):
        user(stack, "first-admin")
