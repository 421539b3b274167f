"""The stack's own programs under a login (AUTH=on): each works with the usual variables, and by its owner's role."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow import MlflowClient
from trainer.data.demo import generate_sessions

from .client_programs import find_program
from .conftest import NewStack
from .people import AUTH_ON, PASSWORD, Persons, user
from .stack import ROOT, Stack, wait_until

MODEL = "purchase_predict"


@pytest.fixture(scope="module")
def persons(new_stack: NewStack) -> Iterator[Persons]:
    """A stack with a login everywhere, whose guarded alias needs a verdict, and its people."""
    settings = {**AUTH_ON, "REQUIRE_VERDICT": "on"}
    with new_stack(settings=settings) as stack:
        stack.up()
        yield Persons(stack)


def run(persons: Persons, name: str, *args: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Runs a program on this machine as a person, whose token is in the variable of MLflow's client."""
    known = {"MLFLOW_TRACKING_URI": persons.stack.url, "MLFLOW_TRACKING_TOKEN": persons.tokens[name]}
    environment = {**os.environ, **known, **variables}
    return subprocess.run(
        list(map(str, args)), env=environment, capture_output=True, text=True, timeout=240, check=False
    )


def train(persons: Persons, name: str, *args: str) -> subprocess.CompletedProcess[str]:
    """Runs the trainer's container as a person."""
    return persons.stack.run_trainer(*args, env={"MLFLOW_TRACKING_TOKEN": persons.tokens[name]})


@pytest.fixture(scope="module")
def version(persons: Persons) -> str:
    """A version that mia has registered, and that satisfies the policy."""
    done = train(persons, "mia", "--n-estimators", "60", "--register", "--json")
    assert done.returncode == 0, done.stderr
    with persons.client("vera") as vera:
        (found,) = vera.search_model_versions(f"run_id = '{json.loads(done.stdout)['run_id']}'")
    return str(found.version)


def test_promotion_is_the_release_persons(persons: Persons, version: str) -> None:
    """By hand the alias does not move without a verdict; `trainer promote` records it, and moves the alias."""
    said = f"none is recorded for version {version}"
    with persons.client("ron") as ron, pytest.raises(Exception, match=said):
        ron.set_registered_model_alias(MODEL, "champion", version)
    done = train(persons, "mia", "promote", "--version", version)
    assert done.returncode == 1
    (line,) = [line for line in done.stderr.splitlines() if "release and admin" in line]
    assert "Traceback" not in done.stderr
    assert line.startswith("trainer: error: ") or "error" in line
    with persons.client("vera") as vera:
        assert "champion" not in vera.get_registered_model(MODEL).aliases
    done = train(persons, "ron", "promote", "--version", version)
    assert done.returncode == 0, done.stderr
    with persons.client("vera") as vera:
        champion = vera.get_model_version_by_alias(MODEL, "champion")
    assert (str(champion.version), bool(champion.tags["trainer.approved_policy"])) == (version, True)


def test_copy_is_checked_anew(persons: Persons) -> None:
    """MLflow's client copies a version with its tags: into another model, whose policy did not see it."""
    with persons.client("ron") as ron:
        ron.create_registered_model("checked")
        source = ron.create_run("0").info
        checked = ron.create_model_version("checked", f"{source.artifact_uri}/m", source.run_id).version
        ron.set_model_version_tag("checked", checked, "trainer.approved_policy", "a1b2c3")
        ron.set_registered_model_alias("checked", "champion", checked)
        copied = ron.copy_model_version(f"models:/checked/{checked}", "copied").version
        with pytest.raises(Exception, match=f"none is recorded for version {copied}"):
            ron.set_registered_model_alias("copied", "champion", copied)
        assert "trainer.approved_policy" not in ron.get_model_version("copied", copied).tags


def test_push_passes_the_login_of_both_stacks(persons: Persons, version: str, stack: Stack) -> None:
    """From a stack with a login to one without, and back: the version's run is then the pushing person's."""
    with persons.client("mia") as mia:
        found = mia.get_model_version(MODEL, version)
        mia.create_registered_model("from_guarded")
        source = str(found.source)
        mia.create_model_version("from_guarded", source, run_id=found.run_id, model_id=source.rpartition("/")[2])
    push = (sys.executable, "-m", "trainer", "push", "--json")
    there = "models:/from_guarded/1"
    out = run(persons, "vera", *push, "--from", persons.stack.url, "--to", stack.url, there)
    assert out.returncode == 0, out.stderr
    with persons.client("mia") as mia:
        mia.delete_registered_model("from_guarded")
    refused = run(persons, "vera", *push, "--from", stack.url, "--to", persons.stack.url, there)
    assert refused.returncode == 1
    assert "vera has the role viewer, and this takes member" in refused.stderr.splitlines()[-1]
    back = run(persons, "ron", *push, "--from", stack.url, "--to", persons.stack.url, there)
    assert back.returncode == 0, back.stderr
    with persons.client("vera") as vera:
        assert vera.get_run(json.loads(back.stdout)["run_id"]).info.user_id == "ron"


def test_verify_passes_with_a_members_token(persons: Persons) -> None:
    done = train(persons, "mia", "verify", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout)["conforms"] is True


def test_cluster_trains_for_who_starts_the_sweep(persons: Persons) -> None:
    """Workers have no login of their own: theirs is that of the sweep's person, whose runs they then are."""
    persons.stack.up("--scale", "worker=1", "worker")
    sweep = ("sweep", "--grid", "n_estimators=20,30", "--no-register", "--cluster", "--experiment", "theirs", "--json")
    done = train(persons, "mia", *sweep)
    assert done.returncode == 0, done.stderr
    refused = train(persons, "vera", *sweep, "--again")
    assert refused.returncode == 1
    assert "vera has the role viewer, and this takes member" in refused.stderr
    again = train(persons, "ron", *sweep, "--again")
    assert again.returncode == 0, again.stderr
    persons.stack.compose("rm", "--stop", "--force", "worker", "scheduler")
    with persons.client("vera") as vera:
        found = vera.get_experiment_by_name("theirs")
        assert found is not None
        runs = vera.search_runs([found.experiment_id])
        for person, one in (("mia", done), ("ron", again)):
            sweeps = json.loads(one.stdout)
            ours = [sweeps["run_id"], *(variant["run_id"] for variant in sweeps["variants"])]
            assert {run.info.user_id for run in runs if run.info.run_id in ours} == {person}
    assert sorted(run.info.user_id for run in runs) == ["mia"] * 3 + ["ron"] * 3


@pytest.mark.parametrize("login", ["token", "password"])
def test_examples_take_a_login(persons: Persons, login: str) -> None:
    """With curl and Node.js; a password inside the stack is a token."""
    variables = {"MLFLOW_TRACKING_TOKEN": persons.tokens["mia"]}
    if login == "password":
        variables = {
            "MLFLOW_TRACKING_TOKEN": "",
            "MLFLOW_TRACKING_USERNAME": "mia",
            "MLFLOW_TRACKING_PASSWORD": persons.tokens["mia"],
        }
    examples = ROOT / "examples"
    find_program("jq", install="jq")
    find_program("curl", install="curl 7.82 or newer")
    commands: list[list[str | Path]] = [[examples / "curl/track-run"]]
    if (examples / "node/node_modules/mlflow").is_dir():
        commands.append([find_program("node", install="Node.js 18 or newer"), examples / "node/track-run.mjs"])
    for command in commands:
        done = run(persons, "mia", *command, **variables)
        assert (done.returncode, done.stderr) == (0, "")
    with persons.client("vera") as vera:
        found = [one for one in vera.search_experiments() if one.name in ("http_client", "node_client")]
        runs = vera.search_runs([one.experiment_id for one in found])
    assert len(found) == len(commands)
    assert {one.info.user_id for one in runs} == {"mia"}
    refused = run(persons, "vera", examples / "curl/track-run")
    assert refused.returncode == 1
    assert refused.stderr.startswith("track-run: error: ")
    assert "this takes member" in refused.stderr


def test_kedro_takes_a_token(persons: Persons, tmp_path: Path) -> None:
    project = tmp_path / "project"
    shutil.copytree(ROOT / "examples/kedro", project, ignore=shutil.ignore_patterns("data", "__pycache__"))
    (project / "shop").mkdir()
    generate_sessions(rows=300, seed=3).to_csv(project / "raw.csv", index=False)
    places = f"raw={project / 'raw.csv'},output={project / 'shop'}"
    done = subprocess.run(
        [sys.executable, "-m", "kedro", "run", "--params", places],
        cwd=project,
        env={
            **os.environ,
            "MLFLOW_TRACKING_URI": persons.stack.url,
            "MLFLOW_TRACKING_TOKEN": persons.tokens["mia"],
        },
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    with persons.client("vera") as vera:
        experiment = vera.get_experiment_by_name("purchase_data")
        assert experiment is not None
        (found,) = vera.search_runs([experiment.experiment_id], max_results=1)
    assert (found.info.status, found.info.user_id) == ("FINISHED", "mia")


def test_housekeeping_has_a_token_of_its_own(persons: Persons) -> None:
    """It marks runs of others, with no token in its shell, and may do no more than a member."""
    with persons.client("mia") as mia:
        silent = mia.create_run("0", tags={"trainer.heartbeat": str(int(time.time()) - 900)}).info.run_id
    look = ("run", "--rm", "--no-deps", "-T", "housekeeping", "stale", "--confirm", "0", "--json")
    done = persons.stack.compose("--profile", "housekeeping", *look, timeout=240)
    assert [one["run_id"] for one in json.loads(done.stdout)["stale"]] == [silent]
    with persons.client("vera") as vera:
        assert vera.get_run(silent).info.status == "FAILED"
    persons.tokens["housekeeping"] = persons.stack.exec("mlflow", "cat", "/run/secrets/housekeeping/token").strip()
    assert persons.ask("housekeeping", "GET", "/people/me").text == "housekeeping member\n"


def test_backup_brings_people_back(persons: Persons, tmp_path: Path) -> None:
    """Users, roles, tokens, owners and the record, as they were; the server then refuses what was made since."""
    stack = persons.stack

    def script(name: str, *args: str | Path) -> None:
        done = subprocess.run(
            [str(ROOT / "scripts" / name), *map(str, args)],
            env={**os.environ, **stack.settings},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    statements = (
        "SELECT * FROM people.users ORDER BY 1",
        "SELECT hash::text, owner, name, expires::text FROM people.tokens ORDER BY 1",
        "SELECT * FROM people.owners ORDER BY 1, 2",
        "SELECT * FROM people.grants ORDER BY 1, 2, 3",
        "SELECT id, person, action, object, status FROM people.record ORDER BY 1",
    )

    def rows() -> list[list[list[object]]]:
        return [stack.sql(statement) for statement in statements]

    user(stack, "grant", "vera", "member", "--experiment", "Default")
    before = rows()
    script("backup", "--database", tmp_path / "mlflow.dump")
    user(stack, "role", "mia", "viewer")
    user(stack, "revoke", "vera", "--experiment", "Default")
    user(stack, "token", "remove", "mia", "--name", "test")
    user(stack, "add", "later", "--role", "admin", password=PASSWORD)
    persons.tokens["later"] = user(stack, "token", "add", "later", "--name", "test")
    assert persons.ask("later", "GET", "/people/me").text == "later admin\n"
    script("restore", tmp_path / "mlflow.dump")
    wait_until(lambda: persons.ask("mia", "GET", "/people/me").text == "mia member\n", "mia is a member again")
    assert persons.ask("later", "GET", "/people/me").status_code == 401
    assert rows() == before
    assert persons.ask("vera", "POST", "/api/2.0/mlflow/runs/create", json={"experiment_id": "0"}).ok
    with pytest.raises(Exception, match="only appended to"):
        stack.sql("DELETE FROM people.record")
    # What was restored is told of too.
    user(stack, "token", "remove", "mia", "--name", "test")
    assert persons.ask("mia", "GET", "/people/me").status_code == 401


def test_client_is_told_how_to_log_in(persons: Persons) -> None:
    """Without a token each program ends with one line that names the variable."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
        with pytest.raises(Exception, match="MLFLOW_TRACKING_TOKEN"):
            MlflowClient(persons.stack.url).search_experiments()
