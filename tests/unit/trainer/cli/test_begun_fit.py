"""The first fit of a command begins before MLflow is imported, in a fork, and comes to the same.

That it is before the imports is seen in fresh interpreters. What comes of such a fit is seen in programs that are
forked (see ``programs``): there, all is imported.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import mlflow
import pytest

from .. import programs

pytestmark = [pytest.mark.process, pytest.mark.skipif(sys.platform != "linux", reason="forks on Linux only")]

#: Notes what is imported in the process that fits. Two processors are there, whatever the machine has.
#: Where LightGBM is imported before the program, it has had no threads.
PROGRAM = """
import os, sys, types
parent = os.getpid()
if "lightgbm" in sys.modules:
    from trainer.cli import begun_fit
    begun_fit.sys = types.SimpleNamespace(modules=())
from trainer.parallel import fit_threads, forked_call
forked_call.available_cpus = fit_threads.free_cpus = lambda: {cpus}
fit_threads.LARGE = {large}
from trainer.training import fit
inner = fit.fit_variant
def outer(*arguments, **options):
    heavy = {{"mlflow", "matplotlib", "skops", "optuna"}} & set(sys.modules)
    with open("fitted", "w") as file:
        print(os.getpid() != parent, ",".join(heavy) or "nothing", options["threads"], file=file)
    return inner(*arguments, **options)
fit.fit_variant = outer
from trainer.cli.main import main
main([*{args!r}, "--json"])
"""


def train(
    folder: Path, *args: str, cpus: int = 2, large: int = 10**9, program: str = PROGRAM, cold: bool = False
) -> tuple[subprocess.CompletedProcess[str], list[str]]:
    """Train, and return how it ended and what the program has noted.

    Args:
        folder: The program's.
        args: The command's.
        cpus: How many processors the command finds.
        large: From how many values on a table is large.
        program: What notes it.
        cold: Whether it matters what is imported when.
    """
    program = program.format(cpus=cpus, large=large, args=args)
    # Without the user's settings, also where a module's fixture asks.
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("TRAINER_", "MLFLOW_"))}
    done = programs.run(["-c", program], cwd=folder, env=environment, cold=cold, timeout=120)
    noted = folder / "fitted"
    return done, noted.read_text().split() if noted.exists() else []


def result(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert done.returncode == 0, done.stderr
    content: dict[str, Any] = json.loads(done.stdout)
    return content


def test_fit_begins_in_a_fork_before_mlflow(workdir: Path) -> None:
    done, noted = train(workdir, "--n-estimators", "9", cold=True)
    assert noted == ["True", "nothing", "1"]
    assert result(done)["status"] == "FINISHED"


def test_fork_and_one_process_give_the_same(workdir: Path) -> None:
    forked, noted = train(workdir, "--n-estimators", "9", "--cv", "3")
    alone, other = train(workdir, "--n-estimators", "9", "--cv", "3", cpus=1)
    assert (noted[0], other[0]) == ("True", "False")
    assert result(forked)["metrics"] == result(alone)["metrics"]
    assert result(forked)["iterations"] == result(alone)["iterations"]


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory, _template: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """Return what a run on a table that is not large has come to, and its parameters."""
    folder = tmp_path_factory.mktemp("small")
    shutil.copy(_template, folder / "mlflow.db")
    done, noted = train(folder, "--n-estimators", "9")
    assert noted[2] == "1"
    assert "processors" not in done.stderr
    client = mlflow.MlflowClient(f"sqlite:///{folder}/mlflow.db")
    return result(done), client.get_run(result(done)["run_id"]).data.params


@pytest.mark.parametrize("cpus", [1, 2, 3])
def test_large_table_takes_the_processors(
    workdir: Path, small: tuple[dict[str, Any], dict[str, str]], cpus: int
) -> None:
    done, noted = train(workdir, "--n-estimators", "9", cpus=cpus, large=1)
    assert noted[2] == str(cpus)
    assert (f"the fit uses {cpus} processors" in done.stderr) == (cpus > 1)
    of_small, params_of_small = small
    assert result(done)["metrics"] == of_small["metrics"]
    params = mlflow.get_run(result(done)["run_id"]).data.params
    assert (params["n_jobs"], params["force_row_wise"]) == ("1", "True")
    assert params == params_of_small


def test_unreachable_server_ends_the_fit(workdir: Path) -> None:
    """Server out of reach ends the command at once, however long the fit would take."""
    uri = "http://127.0.0.1:1"
    done, noted = train(workdir, "--n-estimators", "100000", "--wait", "0", "--tracking-uri", uri)
    assert done.returncode == 1
    assert "cannot reach" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert noted[:1] in ([], ["True"])


def test_failed_fit_fails_the_run(workdir: Path) -> None:
    from mlflow import MlflowClient

    (workdir / "t.csv").write_text("a,b,y\n" + "".join(f"{n},{n % 3},{n % 2}\n" for n in range(200)))
    data = ("--data", "t.csv", "--target", "y", "--threshold", "precision>=0.999")
    done, noted = train(workdir, "--n-estimators", "2", "--wait", "0", *data)
    assert noted[0] == "True"
    assert done.returncode == 1, done.stdout
    client = MlflowClient(f"sqlite:///{workdir}/mlflow.db")
    experiment = client.get_experiment_by_name("purchase_predict")
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.status == "FAILED"
    assert run.data.tags["failure_reason"] in done.stderr


SWEEP = ("sweep", "--grid", "n_estimators=3,9,6")
#: Notes what is imported when the spare process gets its fit.
BEGIN = """
import os, sys
from trainer.parallel import spare_process
spare_process.available_cpus = lambda: {cpus}
inner = spare_process.SpareProcess.begin
def outer(self, function):
    heavy = {{"mlflow", "matplotlib", "skops", "lightgbm"}} & set(sys.modules)
    with open("fitted", "w") as file:
        print(function.args[0].name, ",".join(heavy) or "nothing", file=file)
    return inner(self, function)
spare_process.SpareProcess.begin = outer
from trainer.cli.main import main
main([*{args!r}, "--json"])
"""


def test_longest_variant_begins_early(workdir: Path) -> None:
    """A sweep's longest variant is begun before MLflow is imported; each variant comes to the same without that."""
    begun, noted = train(workdir, *SWEEP, program=BEGIN, cold=True)
    assert noted == ["n_estimators=9", "nothing"]
    (workdir / "fitted").unlink()
    alone, noted = train(workdir, *SWEEP, "--again", cpus=1, program=BEGIN)
    assert noted == []
    first, second = result(begun)["variants"], result(alone)["variants"]
    assert [one["status"] for one in first] == ["FINISHED"] * 3
    assert [(one["name"], one["metrics"]) for one in first] == [(one["name"], one["metrics"]) for one in second]


def test_finished_variant_is_not_waited_for(workdir: Path) -> None:
    """A variant that finished before is begun again, since the server is asked later; then its fit ends."""
    first = result(train(workdir, *SWEEP, program=BEGIN)[0])
    done, noted = train(workdir, *SWEEP, program=BEGIN)
    assert noted[0] == "n_estimators=9"
    assert "3 of 3 variants finished before" in done.stderr
    assert [one["run_id"] for one in result(done)["variants"]] == [one["run_id"] for one in first["variants"]]


def test_failed_begun_fit_fails_its_variant(workdir: Path) -> None:
    (workdir / "t.csv").write_text("a,b,y\n" + "".join(f"{n},{n % 3},{n % 2}\n" for n in range(200)))
    data = ("--data", "t.csv", "--target", "y", "--threshold", "precision>=0.999")
    done, noted = train(workdir, *SWEEP, *data, program=BEGIN)
    assert noted[0] == "n_estimators=9"
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    content = json.loads(done.stdout)
    assert [(one["status"], "no threshold" in one["error"]) for one in content["variants"]] == [("FAILED", True)] * 3
