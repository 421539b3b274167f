"""A stack with AUTH=on: every request needs a person, names cannot be forged, roles hold, and changes are on record."""

from __future__ import annotations

import contextlib
import ipaddress
import json
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests
from mlflow import MlflowClient
from mlflow.entities import Param
from mlflow.exceptions import MlflowException
from replica_server.people import access
from replica_server.people.roles import ROLES, Role

from . import notebook, route_spellings
from .conftest import NewStack
from .mlflow_routes import all_routes
from .people import AUTH_ON, PASSWORD, PEOPLE, Persons, authority_of, basic, user
from .stack import Stack, StackError, wait_until

# What may be sent and would only cost time: it makes a demonstration.
SLOW = "demo/generate"


@pytest.fixture(scope="module")
def guarded(new_stack: NewStack) -> Iterator[Stack]:
    """A stack with a login everywhere."""
    with new_stack(settings=AUTH_ON) as stack:
        stack.up()
        yield stack


@pytest.fixture(scope="module")
def persons(guarded: Stack) -> Persons:
    """One person of each role."""
    return Persons(guarded)


@pytest.fixture(scope="module")
def proxy_url(guarded: Stack) -> str:
    """The proxy's address."""
    return f"https://localhost:{guarded.port('proxy', 443)}"


@pytest.fixture(scope="module")
def authority(guarded: Stack, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The certificate of the proxy's authority."""
    return authority_of(guarded, tmp_path_factory.mktemp("authority"))


def refusal_of(what: Callable[[], object]) -> str:
    """Returns the message with which MLflow's client is refused."""
    with pytest.raises(MlflowException) as refused:
        what()
    message: str = refused.value.message
    assert "\n" not in message
    return message


def version_of(client: MlflowClient, model: str) -> str:
    """Returns the version of a new registered model."""
    client.create_registered_model(model)
    source = client.create_run("0").info
    return str(client.create_model_version(model, f"{source.artifact_uri}/model", source.run_id).version)


# Every route ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def granted(persons: Persons) -> str:
    """A viewer, with a grant for an experiment and one for a model: of others they may change nothing."""
    with persons.client("ada") as ada:
        ada.create_experiment("granted")
        ada.create_registered_model("granted")
    user(persons.stack, "add", "gina", "--role", "viewer", password=PASSWORD)
    user(persons.stack, "grant", "gina", "member", "--experiment", "granted")
    user(persons.stack, "grant", "gina", "release", "--model", "granted")
    persons.tokens["gina"] = user(persons.stack, "token", "add", "gina", "--name", "test")
    return "gina"


def test_every_route_as_each_role(persons: Persons, granted: str) -> None:
    """Each route of the running application, this stack's own too, is answered as the table says, for each role."""
    routes = all_routes()
    own = [(row.method, row.example) for row in access.ROWS if row.own]
    assert len(routes) > 400
    assert len(own) == 36

    def wrong(case: tuple[str, str, str]) -> str:
        name, method, path = case
        row = access.find(method, path)
        assert row is not None
        answer = persons.ask(name, method, path, json={})
        refused = answer.status_code == 401 or "has the role" in answer.text
        if row.role is None:
            return f"{case}: not open" if answer.status_code != 200 else ""
        if not name:
            return "" if answer.status_code == 401 else f"{case}: {answer.status_code}"
        if name == granted and row.grant:
            # Perhaps it has no run, no name: it is refused in any case.
            return "" if 400 <= answer.status_code < 500 else f"{case}: {answer.status_code} {answer.text[:100]}"
        may = ROLES[PEOPLE.get(name, "viewer")] >= row.role
        return "" if may != refused else f"{case}: {answer.status_code} {answer.text[:100]}"

    cases = [
        (name, *route)
        for name in ("", *PEOPLE, granted)
        for route in (*routes, *own)
        if not (name == "ada" and SLOW in route[1])
    ]
    with ThreadPoolExecutor(8) as pool:
        assert [said for said in pool.map(wrong, cases) if said] == []


def test_route_that_is_not_there(persons: Persons) -> None:
    assert persons.ask("", "GET", "/nothing").status_code == 401
    assert persons.ask("ada", "GET", "/nothing").status_code == 404
    assert persons.ask("ada", "PUT", "/api/2.0/mlflow/runs/create").status_code == 404


def test_other_spellings_open_nothing(persons: Persons, proxy_url: str, authority: str) -> None:
    """A viewer, and nobody, makes no run, however route, method or connection are spelled, at either port."""
    count = "SELECT count(*) FROM runs"
    login = {name: {"Authorization": f"Bearer {persons.tokens[name]}"} for name in ("vera", "mia")}
    for url in (persons.stack.url, proxy_url):
        assert route_spellings.send(url, authority, "POST", route_spellings.CREATE, login["mia"]) == 200
        before = persons.stack.sql(count)
        for headers in (login["vera"], {}):
            cases = [(method, target, {**more, **headers}) for method, target, more in route_spellings.requests()]
            with ThreadPoolExecutor(4) as pool:
                statuses = list(pool.map(lambda case, at=url: route_spellings.send(at, authority, *case), cases))
            opened = [
                (status, *case[:2])
                for status, case in zip(statuses, cases, strict=True)
                if status in (*range(100, 300), 500)
            ]
            assert opened == []
        assert persons.stack.sql(count) == before


# Names ----------------------------------------------------------------------------------------------------------------


def test_name_cannot_be_forged(persons: Persons, proxy_url: str, authority: str) -> None:
    forged: dict[str, str]
    for forged in (
        {"X-Replica-User": "ada"},
        {"X-Replica-User": "ada", "X-Replica-Proof": "a guess"},
        {"X-Replica-Proof": ""},
        {"X-Replica-Console": "a guess"},
    ):
        # Inside, where nothing takes the headers out: also beside a token that is right.
        for name in ("", "vera"):
            assert persons.ask(name, "GET", "/people/me", headers=forged).status_code == 403
        # At the proxy they are taken out, and the login counts.
        for headers in (forged, {key.lower(): value for key, value in forged.items()}):
            answer = requests.get(
                f"{proxy_url}/people/me", auth=("vera", PASSWORD), headers=headers, verify=authority, timeout=30
            )
            assert (answer.status_code, answer.text) == (200, "vera viewer\n")


def test_password_counts_at_the_proxy_only(persons: Persons, proxy_url: str, authority: str) -> None:
    inside = requests.get(f"{persons.stack.url}/people/me", auth=("mia", PASSWORD), timeout=30)
    assert inside.status_code == 401
    assert "checked by the proxy only" in inside.json()["message"]
    outside = requests.get(f"{proxy_url}/people/me", auth=("mia", PASSWORD), verify=authority, timeout=30)
    assert outside.text == "mia member\n"


def test_token_works_at_both_addresses(persons: Persons, proxy_url: str, authority: str) -> None:
    token = persons.tokens["mia"]
    for url in (persons.stack.url, proxy_url):
        for options in ({"headers": {"Authorization": f"Bearer {token}"}}, {"auth": ("mia", token)}):
            answer = requests.get(f"{url}/people/me", verify=authority, timeout=30, **options)
            assert answer.text == "mia member\n"
        assert requests.get(url, auth=("vera", token), verify=authority, timeout=30).status_code == 401


def test_user_without_a_role_is_refused(persons: Persons, proxy_url: str, authority: str) -> None:
    """As one who could log in before AUTH was turned on; a role lets them in."""
    stack = persons.stack
    stack.exec("proxy", "bash", "-c", 'AUTH=off user add olga <<<"$0"', PASSWORD)

    def ask() -> requests.Response:
        return requests.get(f"{proxy_url}/people/me", auth=("olga", PASSWORD), verify=authority, timeout=30)

    wait_until(lambda: ask().status_code != 401, "the proxy has read its file")
    assert ask().status_code == 403
    assert "olga has no role here" in ask().text
    assert "olga no-role" in user(stack, "list")
    user(stack, "role", "olga", "viewer")
    assert ask().text == "olga viewer\n"
    user(stack, "remove", "olga")
    assert ask().status_code in (401, 403)
    assert "olga" not in user(stack, "list")


def test_password_is_given_anew(persons: Persons, proxy_url: str, authority: str) -> None:
    """After a move the proxy's file is empty: who has a role here gets a password without another word."""
    stack = persons.stack
    user(stack, "add", "noah", "--role", "viewer", password=PASSWORD)
    stack.exec("proxy", "bash", "-c", "AUTH=off user remove noah")
    with pytest.raises(StackError, match="say what noa may do"):
        user(stack, "add", "noa", password=PASSWORD)
    user(stack, "add", "noah", password=PASSWORD)
    answer = requests.get(f"{proxy_url}/people/me", auth=("noah", PASSWORD), verify=authority, timeout=30)
    assert answer.text == "noah viewer\n"
    user(stack, "remove", "noah")


def test_author_is_the_login(persons: Persons) -> None:
    with persons.client("mia") as client:
        run = client.create_run("0", tags={"mlflow.user": "somebody"}).info.run_id
        client.set_tag(run, "mlflow.user", "another")
        found = client.get_run(run)
    assert (found.info.user_id, found.data.tags["mlflow.user"]) == ("mia", "mia")
    assert found.data.tags["replica.claimed_user"] == "another"


# Roles and tokens -----------------------------------------------------------------------------------------------------


def test_roles_and_removals_hold_at_once(persons: Persons) -> None:
    stack = persons.stack
    user(stack, "add", "tom", "--role", "viewer", password=PASSWORD)
    persons.tokens["tom"] = user(stack, "token", "add", "tom", "--name", "a", "--expires", "1h")
    body = {"experiment_id": "0"}
    statuses = []
    for role in ("viewer", "member", "viewer"):
        user(stack, "role", "tom", role)
        statuses.append(persons.ask("tom", "POST", "/api/2.0/mlflow/runs/create", json=body).status_code)
    assert statuses == [403, 200, 403]
    assert "tom viewer" in user(stack, "list")
    user(stack, "remove", "tom")
    assert persons.ask("tom", "GET", "/people/me").status_code == 401
    assert user(stack, "token", "list", "tom") == ""


def test_token_is_withdrawn_and_expires(persons: Persons) -> None:
    stack = persons.stack
    for name in ("one", "two"):
        persons.tokens[name] = user(stack, "token", "add", "vera", "--name", name, "--expires", "12h")
        assert persons.ask(name, "GET", "/people/me").text == "vera viewer\n"
    user(stack, "token", "remove", "vera", "--name", "one")
    assert "withdrawn" in persons.ask("one", "GET", "/people/me").json()["message"]
    # Past the server, which PostgreSQL tells.
    stack.sql("UPDATE people.tokens SET expires = now() WHERE name = 'two'")
    wait_until(lambda: persons.ask("two", "GET", "/people/me").status_code == 401, "the server is told")
    assert persons.ask("two", "GET", "/people/me").json()["message"] == "The token two of vera has expired"
    assert "two expires" in user(stack, "token", "list", "vera")
    # Not the token itself, but what shows that somebody has it.
    (kept,) = stack.sql("SELECT encode(hash, 'hex') FROM people.tokens WHERE name = 'two'")
    assert len(kept[0]) == 64


@pytest.fixture(scope="module")
def second_url(persons: Persons) -> Iterator[str]:
    """A second server of the stack, which starts when two old rows are in the record."""
    stack = persons.stack
    stack.sql(
        "INSERT INTO people.record (time, person, by, address, action, object, status)"
        " SELECT now() - make_interval(days => days), 'old', 'console', '', 'add-user', days::text, 200"
        " FROM unnest(ARRAY[364, 366]) days"
    )
    second = stack.start("mlflow")
    url, edge = stack.publish(second, 5000)

    def answers() -> bool:
        with contextlib.suppress(requests.ConnectionError):
            return requests.get(f"{url}/health", timeout=60).ok
        return False

    try:
        wait_until(answers, "the second server answers")
        yield url
    finally:
        for container in (edge, second):
            container.remove(force=True)


def test_withdrawal_holds_in_every_server(persons: Persons, second_url: str) -> None:
    """Another server that keeps what it knows of people is told too: by PostgreSQL, which both listen to."""
    stack = persons.stack
    headers = {"Authorization": f"Bearer {user(stack, 'token', 'add', 'mia', '--name', 'second')}"}

    def statuses() -> list[int]:
        urls = (stack.url, second_url)
        return [requests.get(f"{url}/people/me", headers=headers, timeout=60).status_code for url in urls]

    listening = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'people' AND query = 'LISTEN people'"
    wait_until(lambda: statuses() == [200, 200] and stack.sql(listening) == [[2]], "both servers answer and listen")
    user(stack, "token", "remove", "mia", "--name", "second")
    wait_until(lambda: statuses() == [401, 401], "the token is withdrawn in both")


def test_record_is_kept_as_long_as_set(persons: Persons, second_url: str) -> None:
    """A server removes what is older than RECORD_DAYS when it starts, and then once a day."""
    assert second_url
    assert persons.stack.sql("SELECT object FROM people.record WHERE person = 'old'") == [["364"]]


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("add", "new", "--role", "wizard"), '"wizard" is no role'),
        (("add", "new"), "say what new may do"),
        (
            ("add", "mia", "--role", "viewer"),
            "mia is there already: user role changes the role, and user add without --role the password",
        ),
        (("add", "serving", "--role", "admin"), "the stack's own"),
        (("role", "nobody", "viewer"), 'there is no user "nobody"'),
        (("role", "mia", "wizard"), '"wizard" is no role'),
        (("remove", "nobody"), 'there is no user "nobody"'),
        (("token", "add", "nobody", "--name", "ci"), 'there is no user "nobody"'),
        (("token", "add", "mia", "--name", "test"), "mia has a token test already"),
        (("token", "add", "mia", "--name", "new", "--expires", "soon"), '"soon" is no time'),
        (("token", "add", "mia", "--name", "new", "--expires", "9999d"), "up to 3650d"),
        (("token", "add", "mia"), "name the token"),
        (("token", "remove", "mia", "--name", "none"), "mia has no token none"),
        (("token", "add", "../mia", "--name", "x"), "is no name"),
        (("role", "mia", "a?b"), "is no name"),
    ],
)
def test_wrong_command_is_one_line(persons: Persons, args: tuple[str, ...], said: str) -> None:
    with pytest.raises(StackError) as refused:
        user(persons.stack, *args, password=PASSWORD)
    (line,) = str(refused.value).splitlines()[1:]
    assert line.startswith("user: error: ")
    assert said in line


# Owners and aliases ---------------------------------------------------------------------------------------------------


def test_deletion_of_what_is_anothers(persons: Persons) -> None:
    with persons.client("mia") as mia:
        run = mia.create_run("0").info.run_id
    with persons.client("ron") as ron:
        own = ron.create_run("0").info.run_id
        assert f"Run {run} is mia's" in refusal_of(lambda: ron.delete_run(run))
        ron.delete_run(own)
    with persons.client("vera") as vera:
        assert "vera has the role viewer, and this takes member" in refusal_of(lambda: vera.delete_run(run))
        assert vera.get_run(run).info.lifecycle_stage == "active"
    with persons.client("mia") as mia:
        mia.delete_run(run)
    with persons.client("ada") as ada:
        ada.restore_run(run)


def test_model_with_versions_of_others(persons: Persons) -> None:
    with persons.client("mia") as mia:
        version_of(mia, "shared")
    with persons.client("ada") as ada:
        source = ada.create_run("0").info
        ada.create_model_version("shared", f"{source.artifact_uri}/model", source.run_id)
    with persons.client("mia") as mia:
        assert "shared holds versions of others (2)" in refusal_of(lambda: mia.delete_registered_model("shared"))
    with persons.client("ada") as ada:
        ada.delete_model_version("shared", "2")
    with persons.client("mia") as mia:
        mia.delete_registered_model("shared")


def test_champion_is_guarded(persons: Persons) -> None:
    with persons.client("mia") as mia:
        first = version_of(mia, "guarded")
        mia.set_registered_model_alias("guarded", "candidate", first)
        said = refusal_of(lambda: mia.set_registered_model_alias("guarded", "champion", first))
        assert "The alias guarded@champion is guarded" in said
    with persons.client("ron") as ron:
        ron.set_registered_model_alias("guarded", "champion", first)
    with persons.client("mia") as mia:
        for what in (
            lambda: mia.delete_registered_model_alias("guarded", "champion"),
            lambda: mia.delete_model_version("guarded", first),
            lambda: mia.delete_registered_model("guarded"),
            lambda: mia.rename_registered_model("guarded", "free"),
        ):
            assert "guarded" in refusal_of(what)
        assert mia.get_model_version_by_alias("guarded", "champion").version == first
        body = {"name": "guarded", "alias": "champion", "version": first}
        assert persons.ask("mia", "POST", "/ajax-api/2.0/mlflow/registered-models/alias", json=body).status_code == 403
    # The UI's own address, and another spelling of the version.
    for path in ("/ajax-api/2.0/mlflow/model-versions/delete", "/api/2.0/mlflow/model-versions/delete"):
        assert persons.ask("mia", "DELETE", path, json={"name": "guarded", "version": "01"}).status_code == 403


# The record -----------------------------------------------------------------------------------------------------------


def audit(stack: Stack, *args: str) -> list[dict[str, Any]]:
    """Returns the record as its command prints it."""
    return [json.loads(line) for line in stack.exec("mlflow", "audit", "--json", *args).splitlines()]


def test_changes_are_recorded(persons: Persons) -> None:
    stack = persons.stack
    with persons.client("ron") as ron:
        version = version_of(ron, "recorded")
        ron.set_registered_model_alias("recorded", "champion", version)
        ron.search_registered_models()
        run = ron.create_run("0", run_name="before").info.run_id
        ron.log_batch(run, params=[Param("p", "1")])
        ron.update_run(run, name="after")
        ron.set_terminated(run)
    with persons.client("vera") as vera:
        refusal_of(lambda: vera.delete_registered_model("recorded"))
    rows = audit(stack, "--since", "1h", "--who", "ron")
    found = [(row["change"], row["object"], row["by"], row["status"]) for row in rows]
    assert ("create-model", "model recorded; recorded", "token test", 200) in found
    assert ("create-version", "version recorded/1; recorded", "token test", 200) in found
    assert ("set-alias", "recorded@champion -> 1", "token test", 200) in found
    assert [row for row in found if row[0] == "rename-run"] == [
        ("rename-run", f"run {run}; to after", "token test", 200)
    ]
    assert {row["who"] for row in rows} == {"ron"}
    assert not [row for row in rows if "search" in row["change"]]
    refused = audit(stack, "--who", "vera", "--change", "delete-model")
    assert [row["status"] for row in refused][-1] == 403
    # Who was made, by the console; and no secret.
    people = stack.exec("mlflow", "audit", "--who", "console")
    assert "add-user mia member 200" in people
    everything = stack.exec("mlflow", "audit", "--since", "1d")
    assert not [name for name, token in persons.tokens.items() if token in everything or PASSWORD in everything]


def test_each_change_leaves_its_row(persons: Persons) -> None:
    """Each route that is recorded, as a viewer, who is refused: the row has its change, its path and the outcome."""
    rows = [row for row in access.ROWS if row.change and not row.perhaps]
    assert len(rows) > 30
    for row in rows:
        assert persons.ask("vera", row.method, row.example, json={}).status_code == 403
    recorded = Counter(
        (row["change"], row["status"], row["object"]) for row in audit(persons.stack, "--since", "1h", "--who", "vera")
    )
    assert [row.example for row in rows if not recorded[row.change, 403, row.example]] == []


def test_record_has_the_clients_address(persons: Persons, proxy_url: str, authority: str) -> None:
    """At the proxy it is the same for a password and a token, and none of the stack's own."""
    path, token = f"{proxy_url}/api/2.0/mlflow/registered-models/create", persons.tokens["mia"]
    for name, login in (("by-password", basic("mia", PASSWORD)), ("by-token", f"Bearer {token}")):
        options = {"json": {"name": name}, "headers": {"Authorization": login, "X-Forwarded-For": "192.0.2.9"}}
        assert requests.post(path, verify=authority, timeout=30, **options).status_code == 200  # type: ignore[arg-type]
    rows = audit(persons.stack, "--who", "mia", "--change", "create-model")[-2:]
    assert [(row["object"], row["by"]) for row in rows] == [
        ("model by-password; by-password", "password"),
        ("model by-token; by-token", "token test"),
    ]
    ours = {
        network["IPAddress"]
        for container in persons.stack.containers()
        for network in container.attrs["NetworkSettings"]["Networks"].values()
    }
    (address,) = {row["address"] for row in rows}
    assert ipaddress.ip_address(address).is_private
    assert address not in ours | {"192.0.2.9"}


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE people.record SET person = 'x'",
        "UPDATE people.record SET time = now() - interval '1 year'",
        "DELETE FROM people.record",
        "TRUNCATE people.record",
        "SET session_replication_role = replica; DELETE FROM people.record",
        "SET session_replication_role = replica; TRUNCATE people.record",
        "INSERT INTO people.record (id, person, by, address, action, object, status)"
        " SELECT id, 'x', '', '', '', '', 0 FROM people.record LIMIT 1",
        "MERGE INTO people.record USING (SELECT 1) one ON true WHEN MATCHED THEN DELETE",
    ],
)
def test_record_is_only_appended_to(persons: Persons, statement: str) -> None:
    """By the role with which the server asks, no row is changed, removed or put into another's place."""
    before = persons.stack.sql("SELECT count(*), min(time)::text FROM people.record")
    with pytest.raises(StackError, match=r"only appended to|GENERATED ALWAYS"):
        persons.stack.sql(statement)
    assert persons.stack.sql("SELECT count(*), min(time)::text FROM people.record") == before


def test_wrong_time_is_one_line(persons: Persons) -> None:
    with pytest.raises(StackError, match='"soon" is no time: 7d, 12h and 30m are'):
        persons.stack.exec("mlflow", "audit", "--since", "soon")


# Programs -------------------------------------------------------------------------------------------------------------


def run_trainer(persons: Persons, name: str, *args: str) -> subprocess.CompletedProcess[str]:
    """Runs the trainer's container with a person's token, as a shell with MLFLOW_TRACKING_TOKEN passes it on."""
    environment = {"MLFLOW_TRACKING_TOKEN": persons.tokens[name]} if name else {}
    return persons.stack.run_trainer(*args, env=environment)


@pytest.fixture(scope="module")
def registered(persons: Persons) -> str:
    """A run of mia's, whose model is registered."""
    done = run_trainer(persons, "mia", "--n-estimators", "20", "--register", "--json")
    assert done.returncode == 0, done.stderr
    run: str = json.loads(done.stdout)["run_id"]
    return run


@pytest.fixture(scope="module")
def champion(persons: Persons, registered: str) -> str:
    """The version that ron has made champion."""
    with persons.client("ron") as client:
        (version,) = client.search_model_versions(f"run_id = '{registered}'")
        client.set_registered_model_alias("purchase_predict", "champion", version.version)
    return str(version.version)


def test_trainer_works_by_its_users_role(persons: Persons, registered: str) -> None:
    done = run_trainer(persons, "", "--n-estimators", "20", "--wait", "1")
    assert done.returncode == 1
    assert "refuses: 401, it asks for a login" in done.stderr.splitlines()[-1]
    with persons.client("vera") as client:
        assert client.get_run(registered).info.user_id == "mia"


def test_serving_reads_with_its_own_token(persons: Persons, champion: str, proxy_url: str, authority: str) -> None:
    """The champion is served without a token of anyone's, and at the proxy to people only."""
    stack = persons.stack
    stack.up("serving")
    mia, ping = persons.tokens["mia"], f"{proxy_url}/ping"
    for options, status in (
        ({"auth": ("vera", PASSWORD)}, 200),
        ({"headers": {"Authorization": f"Bearer {mia}"}}, 200),
        ({"headers": {"Authorization": f"Bearer {mia[:-1]}."}}, 401),
        ({"headers": {"Authorization": f"Bearer mlr_{'x' * 43}"}}, 401),
        ({}, 401),
    ):
        assert requests.get(ping, verify=authority, timeout=30, **options).status_code == status
    token = stack.exec("serving", "cat", "/run/secrets/serving/token").strip()
    persons.tokens["serving"] = token
    assert persons.ask("serving", "GET", "/people/me").text == "serving viewer\n"
    body = {"experiment_id": "0"}
    assert persons.ask("serving", "POST", "/api/2.0/mlflow/runs/create", json=body).status_code == 403


def test_notebook_takes_a_token(persons: Persons, tmp_path: Path) -> None:
    """With the usual variables alone, it runs to its end as a person who may move its champion."""
    variables = {
        "MLFLOW_TRACKING_URI": persons.stack.url,
        "MLFLOW_TRACKING_TOKEN": persons.tokens["ron"],
        # No server can have this port: it says so.
        "SERVING_URL": "http://127.0.0.1:1",
    }
    done = notebook.execute(tmp_path, variables)
    printed = "".join(output.get("text", "") for cell in done.cells for output in cell.get("outputs", []))
    assert "predicted to end in a purchase" in printed
    assert "Traceback" not in printed
    with persons.client("vera") as vera:
        found = [one.experiment_id for one in vera.search_experiments() if one.name.startswith(notebook.NAME)]
        runs = vera.search_runs(found)
        champion = vera.get_model_version_by_alias(notebook.NAME, "champion")
    assert len(found) == 2
    assert {(one.info.user_id, one.info.status) for one in runs} == {("ron", "FINISHED")}
    assert champion.run_id in {one.info.run_id for one in runs}


def log_metrics(persons: Persons, name: str, count: int, **options: Any) -> list[int]:
    """Creates a run and logs metrics as a person; returns the answers' statuses."""
    made = persons.ask(name, "POST", "/api/2.0/mlflow/runs/create", json={"experiment_id": "0"}, **options)
    run = made.json()["run"]["info"]
    assert run["user_id"] == (options["auth"][0] if "auth" in options else name)
    body = {"run_id": run["run_id"], "key": "loss", "timestamp": 1, "value": 1}
    path = "/api/2.0/mlflow/runs/log-metric"
    return [
        persons.ask(name, "POST", path, json={**body, "step": step}, **options).status_code for step in range(count)
    ]


def test_fifty_tokens_at_once(persons: Persons) -> None:
    """Fifty people log metrics at once: no request fails, and each run is its owner's."""
    stack = persons.stack
    stack.sql("INSERT INTO people.users (name, role) SELECT 'p' || n, 'member' FROM generate_series(1, 50) n")
    names = [f"p{number}" for number in range(1, 51)]
    for name in names:
        token = f"mlr_{name:_<43}"
        persons.tokens[name] = token
        stack.sql(
            "INSERT INTO people.tokens (hash, owner, name, expires)"
            " SELECT sha256(%s::bytea), %s, 'load', now() + interval '1 hour'",
            token,
            name,
        )
    with ThreadPoolExecutor(50) as pool:
        statuses = [
            status for found in pool.map(lambda name: log_metrics(persons, name, 20), names) for status in found
        ]
    assert statuses == [200] * 1000


def test_fifty_passwords_at_once(persons: Persons, proxy_url: str, authority: str) -> None:
    """The same by passwords at the proxy, from one address: each is hashed once, one after the other."""
    stack = persons.stack
    stack.sql("INSERT INTO people.users (name, role) SELECT 'q' || n, 'member' FROM generate_series(1, 50) n")
    # One hash for all, which saves the time of making fifty.
    make = 'hash=$(mkpasswd --stdin --method=bcrypt --rounds=10 <<<"$0")'
    stack.exec("proxy", "bash", "-c", f'{make}; for n in {{1..50}}; do echo "q$n $hash"; done >>/data/users', PASSWORD)

    def work(number: int) -> list[int]:
        return log_metrics(persons, "", 10, at=proxy_url, auth=(f"q{number}", PASSWORD), verify=authority)

    with ThreadPoolExecutor(50) as pool:
        assert [status for found in pool.map(work, range(1, 51)) for status in found] == [200] * 500


def test_wrong_tokens_have_to_wait(persons: Persons, proxy_url: str, authority: str) -> None:
    """At the proxy, after ten different ones; a token that was used before goes on."""

    def ask(token: str) -> requests.Response:
        headers = {"Authorization": f"Bearer {token}"}
        return requests.get(f"{proxy_url}/people/me", headers=headers, verify=authority, timeout=60)

    assert ask(persons.tokens["mia"]).text == "mia member\n"
    wrong = [f"mlr_{number:_>43}" for number in range(30)]
    answers = [ask(token) for token in wrong]
    assert {answer.status_code for answer in answers} == {401, 429}
    last = answers[-1]
    assert (last.status_code, "\n" in last.text) == (429, False)
    assert 0 < int(last.headers["Retry-After"]) <= 60
    assert ask(persons.tokens["mia"]).text == "mia member\n"


# Faults ---------------------------------------------------------------------------------------------------------------


def test_nobody_is_let_in_without_the_database(persons: Persons) -> None:
    stack = persons.stack
    stack.compose("stop", "postgres")
    try:
        answer = persons.ask("ada", "GET", "/")
        assert answer.status_code == 503
        assert answer.json()["message"].startswith("Nobody is let in while permissions cannot be looked up: ")
        assert "\n" not in answer.json()["message"]
        with pytest.raises(StackError, match="user: error: Nobody is let in"):
            user(stack, "token", "list")
        assert persons.ask("", "GET", "/health").status_code == 200
    finally:
        stack.compose("start", "postgres")
    wait_until(lambda: persons.ask("ada", "GET", "/people/me").status_code == 200, "people are known again")


def test_secrets_show_in_no_log(persons: Persons) -> None:
    stack = persons.stack
    secrets = [stack.exec("mlflow", "cat", f"/run/secrets/people/{name}").strip() for name in ("proof", "console")]
    logs = stack.logs()
    assert "has the role viewer" in logs
    assert not [secret for secret in (*secrets, *persons.tokens.values()) if secret in logs]


def test_each_role_may_more_than_the_one_before() -> None:
    assert [role.word for role in Role] == list(PEOPLE.values())
