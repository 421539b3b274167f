"""A stack with AUTH=on: a grant raises what a person may do in one experiment, or with one registered model."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import mlflow
import pytest
from replica_server.people import access

from .conftest import NewStack
from .grant_requests import API, Place, Request, in_experiment, of_its_owner, of_model
from .people import AUTH_ON, PASSWORD, Persons, user
from .stack import StackError, wait_until

COUNTS = """
SELECT (SELECT count(*) FROM runs), (SELECT count(*) FROM tags), (SELECT count(*) FROM trace_info),
    (SELECT count(*) FROM logged_models), (SELECT count(*) FROM model_versions), (SELECT count(*) FROM issues)
"""

# MLflow's own client. The package that it is in wants Flask-WTF, for forms of the server's.
AUTH_CLIENT = """
import sys, types
csrf = types.ModuleType("flask_wtf.csrf")
csrf.CSRFProtect = object
sys.modules |= {"flask_wtf": types.ModuleType("flask_wtf"), "flask_wtf.csrf": csrf}
import mlflow.server
client = mlflow.server.get_app_client("basic-auth", sys.argv[1])
print(eval("client." + sys.argv[2]))
"""


@pytest.fixture(scope="module")
def persons(new_stack: NewStack) -> Iterator[Persons]:
    """A stack with a login everywhere, and its people: gina and rita are viewers, with a token each."""
    with new_stack(settings=AUTH_ON) as stack:
        stack.up()
        persons = Persons(stack)
        for name in ("gina", "rita"):
            user(stack, "add", name, "--role", "viewer", password=PASSWORD)
            persons.tokens[name] = user(stack, "token", "add", name, "--name", "test")
        yield persons


@pytest.fixture(scope="module")
def ours(persons: Persons) -> Place:
    """What gina has grants for: its names are odd, but as a person may give them."""
    place = Place.make(persons, "our churn; é & 100% + more")
    user(persons.stack, "grant", "gina", "member", "--experiment", place.model)
    user(persons.stack, "grant", "gina", "member", "--model", place.model)
    return place


@pytest.fixture(scope="module")
def theirs(persons: Persons) -> Place:
    """What nobody has a grant for."""
    return Place.make(persons, "fraud")


def send(persons: Persons, name: str, request: Request) -> Any:
    method, path, options = request
    return persons.ask(name, method, path, **{**options, "headers": dict(options.get("headers", {}))})


def test_each_granted_route_has_a_request(ours: Place) -> None:
    """So that none of the table's is forgotten below."""
    requests = (*in_experiment(ours), *of_its_owner(ours), *of_model(ours))
    asked = [access.find(method, path.partition("?")[0]) for method, path, _ in requests]
    assert [(row.method, row.path.pattern) for row in access.ROWS if row.grant and row not in asked] == []


def test_nothing_of_others_is_changed(persons: Persons, ours: Place, theirs: Place) -> None:
    """Each route that a grant may open, asked for what gina has no grant for, in both spellings of the API."""
    before = persons.stack.sql(COUNTS)
    wrong = []
    for method, path, options in (*in_experiment(theirs), *of_its_owner(theirs), *of_model(theirs)):
        # The UI's upload has one spelling.
        for prefix in ("/ajax-api/",) if "upload-artifact" in path else ("/api/", "/ajax-api/"):
            spelled = path.replace("/ajax-api/", "/api/").replace("/api/", prefix, 1)
            answer = send(persons, "gina", (method, spelled, options))
            if answer.status_code != 403 or "no grant of theirs is for" not in answer.text:
                wrong.append((method, spelled, answer.status_code, answer.text[:200]))
    assert wrong == []
    assert ours.experiment != theirs.experiment
    assert persons.stack.sql(COUNTS) == before


def test_everything_of_ours_is_changed(persons: Persons, ours: Place) -> None:
    """The same routes for what gina has a grant for are answered as a member's, with nothing more."""
    wrong = []
    for request in in_experiment(ours):
        answer = send(persons, "gina", request)
        # No storage of this stack takes a multipart upload through the server.
        if not answer.ok and "Multipart upload is not supported" not in answer.text:
            wrong.append((request[:2], answer.status_code, answer.text[:200]))
    for request in of_its_owner(ours):
        answer = send(persons, "gina", request)
        if answer.status_code != 403 or "is ada's" not in answer.text:
            wrong.append((request[:2], answer.status_code, answer.text[:200]))
    assert wrong == []


def test_model_is_changed_as_by_a_member(persons: Persons, ours: Place) -> None:
    found = {
        request[:2]: send(persons, "gina", request) for request in of_model(ours) if "champion" not in str(request)
    }
    refused = {
        path.removeprefix(f"{API}/"): answer.json()["message"] for (_, path), answer in found.items() if not answer.ok
    }
    assert "already exists" in refused.pop("registered-models/create")
    assert set(refused) == {"model-versions/delete", "registered-models/rename", "registered-models/delete"}
    assert all("is ada's" in said for said in refused.values())
    guarded = persons.ask(
        "gina", "POST", f"{API}/registered-models/alias", json={"name": ours.model, "alias": "champion", "version": "1"}
    )
    assert "is guarded" in guarded.json()["message"]


@contextmanager
def asked_at(address: str) -> Iterator[None]:
    """Lets MLflow's functions ask this server, and then the former one again: other tests rely on it."""
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(address)
    try:
        yield
    finally:
        mlflow.set_tracking_uri(before)


def test_client_logs_and_registers(persons: Persons, ours: Place, tmp_path: Path) -> None:
    """MLflow's client, with a run, artifacts, a logged model and a version."""
    file = tmp_path / "a.txt"
    file.write_text("a")
    with asked_at(persons.stack.url), persons.client("gina") as client:
        run = client.create_run(ours.experiment).info
        client.log_metric(run.run_id, "loss", 1.0)
        client.log_artifact(run.run_id, str(file))
        client.set_terminated(run.run_id)
        logged = client.create_logged_model(ours.experiment, name="m", source_run_id=run.run_id)
        client.finalize_logged_model(logged.model_id, "READY")
        registered = mlflow.register_model(f"models:/{logged.model_id}", ours.model, await_registration_for=0)
        assert client.get_run(run.run_id).info.user_id == "gina"
        assert [one.path for one in client.list_artifacts(run.run_id)] == ["a.txt"]
        # What gina has made is her own.
        client.delete_model_version(ours.model, str(registered.version))
        client.delete_run(run.run_id)
    assert persons.ask("gina", "GET", "/people/me").text == "gina viewer\n"


def test_one_model_is_released(persons: Persons, theirs: Place) -> None:
    """By a viewer, and by a member: its guarded alias moves, another model's does not; it is renamed and deleted."""
    shop = Place.make(persons, "shop")

    def champion(name: str, model: str) -> int:
        body = {"name": model, "alias": "champion", "version": "1"}
        return persons.ask(name, "POST", f"{API}/registered-models/alias", json=body).status_code

    for name in ("rita", "mia"):
        assert champion(name, "shop") == 403
        user(persons.stack, "grant", name, "release", "--model", "shop")
        assert (champion(name, "shop"), champion(name, theirs.model)) == (200, 403)
    assert "rita viewer; release model shop" in user(persons.stack, "list").splitlines()
    # It follows the model to its new name, and does not wait for another of the old one.
    for request in of_model(shop)[-3:-1]:
        send(persons, "rita", request)
    assert champion("rita", "shop-renamed") == 200
    assert persons.ask("ada", "POST", f"{API}/registered-models/create", json={"name": "shop"}).ok
    assert champion("rita", "shop") == 403
    assert persons.ask("rita", "DELETE", f"{API}/registered-models/delete", json={"name": "shop-renamed"}).ok
    assert persons.stack.sql("SELECT person FROM people.grants WHERE starts_with(object, 'shop')") == []


def test_withdrawal_holds_at_once(persons: Persons, theirs: Place) -> None:
    stack = persons.stack
    body = {"run_id": theirs.run, "key": "m", "value": 1.0, "timestamp": 1}

    def log() -> int:
        return persons.ask("rita", "POST", f"{API}/runs/log-metric", json=body).status_code

    assert log() == 403
    user(stack, "grant", "rita", "member", "--experiment", theirs.model)
    assert [log(), log()] == [200, 200]
    user(stack, "revoke", "rita", "--experiment", theirs.model)
    assert log() == 403
    # Past the server, which PostgreSQL tells.
    give = "INSERT INTO people.grants VALUES ('rita', 'experiment', %s, 'member')"
    stack.sql(give, theirs.experiment)
    wait_until(lambda: log() == 200, "the server is told of the grant")
    stack.sql("DELETE FROM people.grants WHERE person = 'rita'")
    wait_until(lambda: log() == 403, "the server is told of its end")
    # Who is removed and made again has none.
    stack.sql(give, theirs.experiment)
    user(stack, "remove", "rita")
    user(stack, "add", "rita", "--role", "viewer", password=PASSWORD)
    persons.tokens["rita"] = user(stack, "token", "add", "rita", "--name", "test")
    assert log() == 403


def test_mlflows_own_client_grants(persons: Persons, theirs: Place) -> None:
    """What MLflow's client for its basic-auth application asks: by an administrator's token, and by no other."""
    body = {"run_id": theirs.run, "key": "m", "value": 1.0, "timestamp": 1}

    def ask(name: str, call: str) -> str:
        command = [sys.executable, "-c", AUTH_CLIENT, persons.stack.url, call]
        environment = {**os.environ, "MLFLOW_TRACKING_TOKEN": persons.tokens[name]}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
        return done.stdout.strip() or done.stderr.splitlines()[-1]

    def log() -> int:
        return persons.ask("gina", "POST", f"{API}/runs/log-metric", json=body).status_code

    assert log() == 403
    what = f"'gina', 'experiment', '{theirs.experiment}'"
    assert "mia has the role member, and this takes admin" in ask("mia", f"grant_user_permission({what}, 'EDIT')")
    assert ask("ada", f"get_user_permission({what}).permission") == "READ"
    assert ask("ada", f"grant_user_permission({what}, 'EDIT')") == "None"
    assert log() == 200
    assert ask("ada", f"get_user_permission({what}).permission") == "EDIT"
    assert f"gina viewer; member experiment {theirs.model}" in user(persons.stack, "list")
    assert "nothing is hidden here" in ask("ada", f"grant_user_permission({what}, 'NO_PERMISSIONS')")
    assert ask("ada", f"revoke_user_permission({what})") == "None"
    assert log() == 403
    assert ask("ada", "get_user('ada').is_admin") == "True"
    # Roles are the four that there are, and one takes another's place.
    roles = "get_role(3).name, client.assign_role('gina', 2).role_id, client.list_user_roles('gina')[0].name"
    assert ask("ada", roles) == "('release', 2, 'member')"
    assert "gina member" in user(persons.stack, "list")
    assert "has one role, member: assign another" in ask("ada", "unassign_role('gina', 2)")
    user(persons.stack, "role", "gina", "viewer")
    record = persons.stack.exec("mlflow", "audit", "--since", "1h", "--who", "ada")
    assert f"add-grant gina EDIT experiment {theirs.experiment} 200" in record
    assert f"remove-grant gina experiment {theirs.experiment} 200" in record


def test_renamed_experiment_keeps_its_grants(persons: Persons) -> None:
    """And one that is gone for good leaves none for whoever gets its name."""
    place = Place.make(persons, "renamed")
    stack = persons.stack
    user(stack, "grant", "rita", "member", "--experiment", "renamed")
    assert send(persons, "ada", of_its_owner(place)[0]).ok
    assert "rita viewer; member experiment renamed-new" in user(stack, "list").splitlines()
    assert send(persons, "rita", ("POST", f"{API}/runs/create", {"json": {"experiment_id": place.experiment}})).ok
    assert send(persons, "ada", of_its_owner(place)[1]).ok
    # Deleted: nobody writes to it until it is restored.
    refused = send(persons, "rita", ("POST", f"{API}/runs/create", {"json": {"experiment_id": place.experiment}}))
    assert (refused.status_code, "must be in the 'active' state" in refused.text) == (400, True)
    assert send(persons, "ada", of_its_owner(place)[2]).ok
    lonely = persons.ask("ada", "POST", f"{API}/experiments/create", json={"name": "lonely"}).json()["experiment_id"]
    user(stack, "grant", "rita", "member", "--experiment", "lonely")
    stack.sql("DELETE FROM experiments WHERE experiment_id = %s", int(lonely))
    assert stack.sql("SELECT object FROM people.grants WHERE object = %s", lonely) == []


def test_grants_are_on_record(persons: Persons, theirs: Place) -> None:
    user(persons.stack, "grant", "mia", "release", "--model", theirs.model)
    user(persons.stack, "revoke", "mia", "--model", theirs.model)
    found = persons.stack.exec("mlflow", "audit", "--who", "console")
    assert "add-grant mia release model fraud 200" in found
    assert "remove-grant mia model fraud 200" in found
    refused = persons.stack.exec("mlflow", "audit", "--who", "gina", "--change", "delete-run")
    assert f"run {theirs.run} 403" in refused


def test_administrators_grant_by_http(persons: Persons, theirs: Place) -> None:
    path = f"/people/grants/rita?role=member&model={theirs.model}"
    assert persons.ask("ron", "POST", path).status_code == 403
    assert persons.ask("ada", "POST", path).text == ""
    assert f"rita member model {theirs.model}" in persons.ask("ada", "GET", "/people/grants").text.splitlines()
    assert persons.ask("ada", "DELETE", path).status_code == 200


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("grant", "gina", "member"), "say what it is for"),
        (("grant", "gina", "member", "--experiment", "a", "--model", "b"), "for one experiment, or for one model"),
        (("grant", "gina", "member", "--experiment", "no such"), 'there is no experiment "no such"'),
        (("grant", "gina", "member", "--model", "no such"), 'there is no model "no such"'),
        (("grant", "nobody", "member", "--experiment", "Default"), 'there is no user "nobody"'),
        (("grant", "serving", "member", "--experiment", "Default"), 'there is no user "serving"'),
        (("grant", "gina", "release", "--experiment", "Default"), "release cannot be granted for one experiment"),
        (("grant", "gina", "wizard", "--experiment", "Default"), '"wizard" is no role'),
        (("grant", "gina", "member", "--experiment", "a\nb"), '"a?b" cannot be the value of --experiment'),
        (("revoke", "gina", "--model", "fraud"), 'gina has no grant for the model "fraud"'),
        (("revoke", "gina"), "say what it is for"),
    ],
)
def test_wrong_grant_is_one_line(persons: Persons, theirs: Place, args: tuple[str, ...], said: str) -> None:
    assert theirs.model == "fraud"
    with pytest.raises(StackError) as refused:
        user(persons.stack, *args)
    (line,) = str(refused.value).splitlines()[1:]
    assert line.startswith("user: error: ")
    assert said in line


def test_database_away_lets_no_grant_through(persons: Persons, ours: Place) -> None:
    stack = persons.stack
    stack.compose("stop", "postgres")
    try:
        answer = send(
            persons,
            "gina",
            ("PUT", f"/api/2.0/mlflow-artifacts/artifacts/{ours.experiment}/x/artifacts/a", {"data": b"1"}),
        )
        assert answer.status_code == 503
        assert "Nobody is let in" in answer.json()["message"]
    finally:
        stack.compose("start", "postgres")
    wait_until(lambda: persons.ask("ada", "GET", "/people/me").status_code == 200, "people are known again")
