"""scripts/doctor: each check says what it saw, and a check that cannot look is an error, not a traceback."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import time
import urllib.error
from collections.abc import Callable
from email.message import Message
from pathlib import Path

import doctor
import pytest

ROOT = Path(__file__).parents[3]
Answers = Callable[..., None]


@pytest.fixture
def docker(monkeypatch: pytest.MonkeyPatch) -> Answers:
    """Makes `docker` answer by the first words of its arguments."""

    def answer(**answers: str) -> None:
        def fake(*command: str) -> str:
            for name, text in answers.items():
                if " ".join(command).startswith(name.replace("_", " ")):
                    return text
            raise subprocess.CalledProcessError(1, command, stderr="no such thing\n")

        monkeypatch.setattr(doctor, "docker", fake)

    return answer


def services(**health: str) -> str:
    """Returns what `docker compose ps` says of some services, an object on each line."""
    return "\n".join(
        json.dumps({"Service": name, "State": "running", "Health": state}) for name, state in health.items()
    )


@pytest.mark.parametrize(
    ("listed", "state", "found"),
    [
        (services(mlflow="healthy", edge=""), "OK", "healthy: edge, mlflow"),
        (services(mlflow="unhealthy", edge="healthy"), "error", "not healthy: mlflow"),
        (f"[{services(mlflow='starting')}]", "error", "not healthy: mlflow"),
        (services(migrate=""), "error", "none runs"),
        (services(mlflow="healthy", **{"monitor-role": ""}), "OK", "healthy: mlflow"),
        ("", "error", "none runs"),
    ],
)
def test_servers_are_to_be_healthy(docker: Answers, listed: str, state: str, found: str) -> None:
    docker(compose_ps=listed)
    seen = doctor.services()
    assert (seen.state, seen.found) == (state, found)
    assert bool(seen.remedy) == (state != "OK")


@pytest.mark.parametrize(("used", "state"), [(50, "OK"), (90, "warning"), (97, "error")])
def test_full_disk_is_told(docker: Answers, used: int, state: str) -> None:
    docker(compose_exec=f"Filesystem 1024-blocks Used Available\n/dev/vda 100 {used} {100 - used} {used}% /data")
    assert doctor.disk().state == state


def test_disk_is_seen_without_postgres(docker: Answers) -> None:
    """Where the database is elsewhere, the disk of the engine's other volumes is looked at."""
    docker(compose_exec_mlflow="ignored")
    assert doctor.look(doctor.disk).state == "error"
    docker(**{"compose_exec_-T_mlflow": "Filesystem 1024-blocks Used Available\n/dev/vda 100 90 10 90% /data"})
    assert (doctor.disk().state, doctor.disk().found) == ("warning", "90% full, 0.0 GiB free")


def test_one_shots_are_those_of_compose() -> None:
    """Every service that ends by itself at each start is known as one."""
    text = (ROOT / "compose.yaml").read_text()
    found = re.findall(r"^  ([a-z-]+):\n    <<: \*one-shot$", text, re.MULTILINE)
    on_demand = {"gc", "backup", "usage"}
    assert set(found) - on_demand == {*doctor.ONE_SHOTS}


@pytest.mark.parametrize(("memory", "state"), [(2**30, "OK"), (2**28, "warning")])
def test_memory_has_to_hold_all_limits(docker: Answers, memory: int, state: str) -> None:
    docker(info=str(memory), compose_ps="one\ntwo", inspect=f"{2**28}\n{2**28}")
    assert doctor.memory().state == state


@pytest.mark.parametrize(("off", "state"), [(0, "OK"), (60, "error")])
def test_clock_of_the_engine_is_compared(docker: Answers, off: int, state: str) -> None:
    moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(time.time() - off))
    docker(info=f"{moment}.123456789Z")
    assert doctor.clock().state == state


def test_versions_that_differ_are_told(docker: Answers) -> None:
    docker(compose_ps="one", inspect="0.0.9\n0.0.9")
    seen = doctor.versions()
    assert seen.state == "warning"
    assert seen.found == f"these files are {doctor.files_version()}, and 0.0.9 runs"
    docker(compose_ps="one", inspect=doctor.files_version())
    assert doctor.versions().state == "OK"


@pytest.mark.parametrize(
    ("hours", "state", "found"),
    [(3, "OK", "3 hours ago"), (30, "warning", "30 hours ago"), (72, "warning", "3 days ago")],
)
def test_old_backup_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, docker: Answers, hours: int, state: str, found: str
) -> None:
    docker()
    monkeypatch.setattr(doctor, "BACKUPS", (tmp_path, tmp_path / "missing"))
    assert doctor.last_backup().found == "none"
    for ago, suffix in ((hours, ""), (hours + 100, ".dump")):
        name = time.strftime("mlflow-%Y%m%dT%H%M%SZ", time.gmtime(time.time() - ago * 3600 - 60))
        (tmp_path / f"{name}{suffix}").touch()
    seen = doctor.last_backup()
    assert (seen.state, seen.found) == (state, found)


def test_backup_elsewhere_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, docker: Answers) -> None:
    """One in a folder of the user's own is known by the time that scripts/backup leaves in the database."""
    monkeypatch.setattr(doctor, "BACKUPS", (tmp_path,))
    docker(compose_exec=f"last backup: {int(time.time()) - 5 * 3600}")
    assert (doctor.last_backup().state, doctor.last_backup().found) == ("OK", "5 hours ago")
    docker(compose_exec="")
    assert doctor.last_backup().found == "none"


def test_login_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    def post(server: str, path: str, body: object) -> object:
        raise urllib.error.HTTPError(server, 401, "Unauthorized", Message(), None)

    monkeypatch.setattr("summary.compose_port", lambda *_: "127.0.0.1:5000")
    monkeypatch.setattr("summary.post", post)
    seen = doctor.look(doctor.stale_runs)
    assert (seen.state, seen.found) == ("warning", "not looked at: the server wants a login (AUTH=on)")


@pytest.mark.parametrize(("runs", "state"), [([], "OK"), ([{"info": {"run_name": "lost"}}], "warning")])
def test_stale_runs_are_told(monkeypatch: pytest.MonkeyPatch, runs: list[object], state: str) -> None:
    answers = {"experiments/search": {"experiments": [{"experiment_id": "0"}]}, "runs/search": {"runs": runs}}
    asked = {}

    def post(server: str, path: str, body: dict[str, object]) -> object:
        asked[path] = body
        return answers[path]

    monkeypatch.setattr("summary.compose_port", lambda *_: "127.0.0.1:5000")
    monkeypatch.setattr("summary.post", post)
    seen = doctor.stale_runs()
    assert seen.state == state
    assert ("lost" in seen.found) == bool(runs)
    assert str(asked["runs/search"]["filter"]).startswith("attributes.status = 'RUNNING'")


def test_check_that_cannot_look_is_an_error(docker: Answers) -> None:
    docker()
    seen = doctor.look(doctor.engine)
    assert (seen.check, seen.state, seen.found) == ("engine", "error", "cannot be looked at: no such thing")


def test_table_shows_the_remedy_below() -> None:
    found = [doctor.Finding("disk", "warning", "90% full", "remove something"), doctor.Finding("engine", "OK", "runs")]
    assert doctor.table(found) == (
        "disk    warning  90% full\n                 remove something\nengine  OK       runs"
    )


def test_doctor_runs_on_python_3_9() -> None:
    tree = ast.parse((ROOT / "scripts" / "doctor.py").read_text(), feature_version=(3, 9))
    imports = [node for node in tree.body if isinstance(node, ast.ImportFrom) and node.module == "__future__"]
    assert [name.name for node in imports for name in node.names] == ["annotations"]
