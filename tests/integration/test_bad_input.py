"""Whatever is wrong, the trainer says so in one line, ends with the right exit code, and leaves no run running."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from trainer.data.demo import generate_sessions

from .stack import STORAGE_SERVERS, Stack, wait_until

PARTS = ("X_train", "X_test", "y_train", "y_test")

# What is wrong, the arguments, and what the message has to name.
WRONG_INPUT = {
    "missing file": (["--data", "/data/nowhere.csv", "--target", "purchase"], "/data/nowhere.csv"),
    "empty file": (["--data", "/data/empty.csv", "--target", "purchase"], "is empty"),
    "header only": (["--data", "/data/header.csv", "--target", "purchase"], "no rows"),
    "not text": (["--data", "/data/binary.csv", "--target", "purchase"], "/data/binary.csv"),
    "unreadable file": (["--data", "/data/secret.csv", "--target", "purchase"], "/data/secret.csv"),
    # The tables of a folder are the parts of one; this one is the first that cannot be.
    "several tables": (["--target", "purchase"], "/data/binary.csv"),
    "no target named": (["--data", "/data/good.csv"], "--target"),
    "no such target": (["--data", "/data/good.csv", "--target", "purchse"], "did you mean 'purchase'"),
    "one class only": (["--data", "/data/one-class.csv", "--target", "purchase"], "one class"),
    "gaps in the target": (["--data", "/data/gaps.csv", "--target", "purchase"], "missing"),
    "too few rows": (["--data", "/data/few.csv", "--target", "purchase"], "too few rows"),
    "columns that differ": (["--data", "/data/differ"], "device only in X_train"),
    "row counts that differ": (["--data", "/data/lengths"], "rows"),
    "part of a folder": (["--data", "/data/partial"], "y_test.csv"),
    "parameter out of range": (["--num-leaves", "1"], "from 2 to"),
    "parameter of the wrong type": (["--learning-rate", "fast"], "--learning-rate"),
    "unknown parameter": (["--num-leafs", "31"], "did you mean --num-leaves"),
    "unknown command": (["swep"], "did you mean 'sweep'"),
    "unknown parameter in a variants file": (["sweep", "--variants", "/data/variants.yaml"], "num_leafs"),
    "missing variants file": (["sweep", "--variants", "/data/nowhere.yaml"], "/data/nowhere.yaml"),
}


@pytest.fixture(scope="module")
def bad_data(stack: Stack) -> Path:
    """A data folder in which almost everything is wrong."""
    folder = stack.data.parent / "bad"
    folder.mkdir()
    table = generate_sessions(rows=300, seed=5)
    table.to_csv(folder / "good.csv", index=False)
    (folder / "empty.csv").touch()
    table.head(0).to_csv(folder / "header.csv", index=False)
    (folder / "binary.csv").write_bytes(bytes(range(256)) * 40)
    (folder / "secret.csv").write_text("a,purchase\n1,0\n")
    table[table.purchase == 0].to_csv(folder / "one-class.csv", index=False)
    table.assign(purchase=table.purchase.astype("float").where(table.index > 3)).to_csv(
        folder / "gaps.csv", index=False
    )
    pd.concat([table[table.purchase == 1].head(1), table[table.purchase == 0].head(5)]).to_csv(
        folder / "few.csv", index=False
    )
    (folder / "variants.yaml").write_text("- {n_estimators: 10}\n- {num_leafs: 31}\n")
    features, target = table.drop(columns="purchase"), table[["purchase"]]
    folders: dict[str, dict[str, pd.DataFrame]] = {
        "differ": {"X_train": features, "X_test": features.drop(columns="device"), "y_train": target, "y_test": target},
        "lengths": {"X_train": features, "X_test": features, "y_train": target, "y_test": target.head(10)},
        "partial": {"X_train": features, "X_test": features, "y_train": target},
    }
    for name, parts in folders.items():
        (folder / name).mkdir()
        for part, content in parts.items():
            content.to_csv(folder / name / f"{part}.csv", index=False)
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    (folder / "secret.csv").chmod(0o600)
    return folder


@pytest.fixture
def no_new_run(stack: Stack) -> Iterator[None]:
    """Proves after a test that it has logged nothing, and that nothing is left running."""
    before = stack.sql("SELECT count(*) FROM runs")
    yield
    assert stack.sql("SELECT count(*) FROM runs") == before
    assert stack.sql("SELECT name FROM runs WHERE status = 'RUNNING' AND name = 'baseline'") == []


def assert_one_line(done: subprocess.CompletedProcess[str], code: int, message: str) -> None:
    """Proves that a command failed with this exit code and one line that holds the message."""
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    # Compose says in lines of its own, indented, that it creates the searches' volume for the first trainer.
    lines = [line for line in done.stderr.splitlines() if not line.startswith(" Volume ")]
    assert [line for line in lines if not line.startswith("trainer: ")] == []
    assert [line for line in lines if line.startswith("trainer: error: ")] == lines[-1:]
    assert message in lines[-1]


@pytest.mark.parametrize(("args", "message"), WRONG_INPUT.values(), ids=WRONG_INPUT.keys())
@pytest.mark.usefixtures("no_new_run")
def test_wrong_input_is_one_line_and_exit_code_2(stack: Stack, bad_data: Path, args: list[str], message: str) -> None:
    assert_one_line(stack.run_trainer(*args, data=bad_data), 2, message)


@pytest.mark.parametrize("command", ["train", "sweep"])
@pytest.mark.usefixtures("no_new_run")
def test_missing_tracking_is_one_line(stack: Stack, command: str) -> None:
    """Server out of reach is one line and exit code 1."""
    address = "http://nowhere.invalid:5000"
    done = stack.run_trainer(command, "--wait", "1", env={"MLFLOW_TRACKING_URI": address})
    assert_one_line(done, 1, f"cannot reach {address}")


@pytest.mark.usefixtures("no_new_run")
def test_refusing_server_is_one_line(stack: Stack) -> None:
    """Server that refuses is one line and exit code 1."""
    # By its address the server can be reached, but it is no name that it goes by.
    networks: dict[str, Any] = stack.container("mlflow").attrs["NetworkSettings"]["Networks"]
    address = networks[f"{stack.project}_inside"]["IPAddress"]
    done = stack.run_trainer("--wait", "20", env={"MLFLOW_TRACKING_URI": f"http://{address}:5000"})
    assert_one_line(done, 1, "403 Invalid Host header")


@pytest.mark.usefixtures("no_new_run")
def test_other_kind_of_server_is_one_line(stack: Stack) -> None:
    """Server that is no tracking server is one line and exit code 1."""
    done = stack.run_trainer("--wait", "20", env={"MLFLOW_TRACKING_URI": "http://mlflow:5000/elsewhere"})
    assert_one_line(done, 1, "check the tracking URI")


def test_stopped_run_is_marked_killed(stack: Stack) -> None:
    query = "SELECT status FROM runs WHERE name LIKE 'n_estimators=99999%%'"
    container = stack.start_trainer("--n-estimators", "99999", "--num-leaves", "1000")
    wait_until(lambda: stack.sql(query) == [["RUNNING"]], "the run has started")
    container.stop(timeout=20)
    assert container.wait()["StatusCode"] == 143
    assert container.logs(stdout=False).decode().splitlines()[-1] == "trainer: error: interrupted"
    assert stack.sql(query) == [["KILLED"]]
    container.remove()


def test_run_with_lost_artifacts_is_failed(crash_stack: Stack) -> None:
    """Run whose artifacts cannot be stored is marked failed with the reason."""
    crash_stack.wait_healthy()
    crash_stack.compose("stop", STORAGE_SERVERS[-1])
    try:
        env = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}
        done = crash_stack.run_trainer("--n-estimators", "11", env=env)
    finally:
        crash_stack.compose("start", STORAGE_SERVERS[-1])
    # MinIO's client gives up at once and the server says so; Google's tries longer than the trainer waits.
    assert_one_line(done, 1, "tracking failed: it ")
    query = """SELECT status, value FROM runs JOIN tags USING (run_uuid)
               WHERE runs.name = 'n_estimators=11' AND tags.key = 'failure_reason'"""
    ((status, reason),) = crash_stack.sql(query)
    assert status == "FAILED"
    assert reason
    crash_stack.wait_healthy(STORAGE_SERVERS[-1])


def test_run_outlives_a_server_crash(crash_stack: Stack) -> None:
    """Run outlives a crash of the server and is logged once."""
    crash_stack.wait_healthy()
    query = "SELECT run_uuid, status FROM runs WHERE name LIKE 'n_estimators=600%%'"
    container = crash_stack.start_trainer("--n-estimators", "600")
    wait_until(lambda: crash_stack.sql(query), "the run has started")
    crash_stack.kill("mlflow")
    code = container.wait(timeout=120)["StatusCode"]
    assert code == 0, container.logs().decode()
    container.remove()
    crash_stack.wait_healthy("mlflow")
    ((run_id, status),) = crash_stack.sql(query)
    assert status == "FINISHED"
    history = crash_stack.sql("SELECT step FROM metrics WHERE run_uuid = %s AND key = 'validation_log_loss'", run_id)
    assert sorted(step for (step,) in history) == list(range(1, 601))
    models = crash_stack.sql("SELECT status FROM logged_models WHERE source_run_id = %s", run_id)
    assert len(models) == 1
