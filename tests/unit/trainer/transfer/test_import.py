"""trainer import: stores written by MLflow itself, moved to another folder, into a server; interrupted, repeated."""

from __future__ import annotations

import hashlib
import json
import shutil
import sqlite3
import tarfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import mlflow.artifacts
import pytest
from mlflow import MlflowClient
from trainer.tracking.settings import as_default
from trainer.transfer import artifact_files
from trainer.transfer.copy_marks import STATE_TAG
from trainer.transfer.push_source import RUN_TAG
from trainer.util.errors import TrackingError

from .. import programs
from ..conftest import Answer, serving

Trainer = Callable[..., Answer]

# Runs in a process of its own: MLflow keeps stores and defaults for the whole process.
WRITE = """
import os, sys
os.environ["MLFLOW_ALLOW_FILE_STORE"] = "true"
import mlflow, numpy as np
from mlflow import MlflowClient
from sklearn.linear_model import LogisticRegression
uri, experiment, model = sys.argv[1:]
mlflow.set_tracking_uri(uri)
mlflow.set_experiment(experiment)
client = MlflowClient(uri, uri)
client.set_experiment_tag(client.get_experiment_by_name(experiment).experiment_id, "team", "web")
fitted = LogisticRegression().fit(np.array([[0.0], [1.0]]), [0, 1])
with mlflow.start_run(run_name="parent") as parent:
    mlflow.log_text("notes", "notes/a b.txt")
    with mlflow.start_run(run_name="child", nested=True) as run:
        mlflow.log_params({"a": 1, "b": "x" * 300})
        for step in range(30):
            mlflow.log_metric("loss", 1 / (step + 1), step=step)
        mlflow.log_metric("odd", float("nan"))
        mlflow.set_tag("mine", "1")
        mlflow.sklearn.log_model(fitted, name="model", registered_model_name=model,
            pip_requirements=["mlflow"], skops_trusted_types=["numpy.dtype"])
with mlflow.start_run(run_name="failed"):
    mlflow.end_run("FAILED")
mlflow.register_model(f"runs:/{run.info.run_id}/model", model)
client.set_registered_model_alias(model, "champion", "1")
client.set_model_version_tag(model, "2", "checked", "yes")
client.update_registered_model(model, description="Old and good")
client.create_run(client.get_experiment_by_name(experiment).experiment_id, run_name="died")
"""


# Written by MLflow 2.22; make_stores_of_mlflow_2.py beside it says how.
OF_MLFLOW_2 = Path(__file__).with_name("stores_of_mlflow_2.tar.xz")


@pytest.fixture(scope="session", params=["mlruns", "sqlite", "mlruns2", "sqlite2"])
def written_store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """A store that MLflow 3 has written, or MLflow 2: what it is called, and its folder."""
    folder = tmp_path_factory.mktemp(request.param)
    if request.param.endswith("2"):
        with tarfile.open(OF_MLFLOW_2) as archive:
            archive.extractall(folder, filter="data")
        return request.param, folder / "stores" / request.param
    uri = (folder / "mlruns").as_uri() if request.param == "mlruns" else f"sqlite:///{folder}/mlflow.db"
    names = (f"moved {request.param}", f"moved_{request.param}")
    programs.run(["-c", WRITE, uri, *names], cwd=folder, check=True, timeout=300)
    return request.param, folder


def store_in(kind: str, folder: Path) -> str:
    """Returns what is named to bring a store in."""
    return str(folder / ("mlruns" if kind.startswith("mlruns") else "mlflow.db"))


@pytest.fixture
def moved(written_store: tuple[str, Path], tmp_path: Path) -> Iterator[tuple[str, str, Path]]:
    """The store on another machine: its kind, what to import, and the folder that it was in before."""
    kind, before = written_store
    folder = Path(shutil.copytree(before, tmp_path / "elsewhere"))
    # As if it had never been there: what is found there would hide that the new place is not looked at.
    hidden = before.with_name(f"{before.name}.away")
    before.rename(hidden)
    try:
        yield kind, store_in(kind, folder), folder
    finally:
        hidden.rename(before)


def everything(client: MlflowClient, kind: str) -> dict[str, Any]:
    """Returns what a server holds of an imported store, without ids and times of its own."""
    experiment = client.get_experiment_by_name(f"moved {kind}")
    assert experiment is not None
    runs = {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}
    child = runs["child"]
    versions = {str(one.version): one for one in client.search_model_versions(f"name = 'moved_{kind}'")}
    model = client.get_registered_model(f"moved_{kind}")
    return {
        "tags": {name: value for name, value in experiment.tags.items() if not name.startswith("mlflow.")},
        "runs": {name: run.info.status for name, run in runs.items()},
        "parent": child.data.tags.get("mlflow.parentRunId") == runs["parent"].info.run_id,
        "params": child.data.params,
        "loss": [(one.step, one.value) for one in client.get_metric_history(child.info.run_id, "loss")],
        "odd": str(child.data.metrics["odd"]),
        "mine": child.data.tags["mine"],
        "versions": {number: one.run_id == child.info.run_id for number, one in versions.items()},
        "checked": versions["2"].tags.get("checked"),
        "aliases": {name: str(version) for name, version in model.aliases.items()},
        "description": model.description,
    }


EXPECTED = {
    "tags": {"team": "web"},
    "runs": {"parent": "FINISHED", "child": "FINISHED", "failed": "FAILED"},
    "parent": True,
    "params": {"a": "1", "b": "x" * 300},
    "odd": "nan",
    "mine": "1",
    "checked": "yes",
    "aliases": {"champion": "1"},
    "description": "Old and good",
}


@pytest.fixture
def target(tmp_path: Path, new_database: Callable[[Path], str]) -> str:
    """An empty store of MLflow's in a file, to import into."""
    (tmp_path / "target").mkdir()
    return new_database(tmp_path / "target")


def digests(folder: Path) -> dict[str, str]:
    found = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in found}


def test_whole_store_is_brought_in_once(
    moved: tuple[str, str, Path], server: str, trainer: Trainer, tmp_path: Path
) -> None:
    """Everything is there, each file with its digest; a second time nothing happens, and the source is as it was."""
    kind, store, folder = moved
    before = digests(folder)
    answer = trainer("import", store, "--to", server, "--json")
    assert answer.code == 0, answer.err
    told = json.loads(answer.out)
    # MLflow 2 keeps a model among the artifacts of its run.
    models = 0 if kind.endswith("2") else 1
    assert (told["runs"], told["models"], told["versions"], told["aliases"]) == (3, models, 2, 1)
    assert [what for what in told["left_out"] if "(died): it has not ended" not in what] == []
    assert digests(folder) == before
    client = MlflowClient(server, server)
    found = everything(client, kind)
    assert {name: found[name] for name in EXPECTED} == EXPECTED
    assert found["loss"] == [(step, 1 / (step + 1)) for step in range(30)]
    assert list(found["versions"].values()) == [True, True]
    if kind.endswith("2"):
        assert client.get_model_version(f"moved_{kind}", "2").tags["trainer.push.stage"] == "Staging"
    with as_default(server):
        uri = f"models:/moved_{kind}@champion"
        with_model = mlflow.artifacts.download_artifacts(uri, dst_path=str(tmp_path / "copy"))
    (original,) = (path.parent for path in folder.rglob("MLmodel"))
    same = {name: digest for name, digest in digests(original).items() if name != "MLmodel"}
    copies = {name: digest for name, digest in digests(Path(with_model)).items() if name in same}
    assert copies == same
    assert len(same) > 3
    again = trainer("import", store, "--to", server, "--json")
    assert again.code == 0, again.err
    told = json.loads(again.out)
    now = (told["runs"], told["runs_before"], told["versions"], told["versions_before"], told["aliases"], told["files"])
    assert now == (0, 3, 0, 2, 0, 0)
    assert everything(client, kind) == found


def test_interrupted_import_is_finished(
    written_store: tuple[str, Path], trainer: Trainer, target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever it had begun: the same command goes on, and no run is there twice."""
    kind, folder = written_store
    store = store_in(kind, folder)
    real, calls = artifact_files.sha256, iter(range(1000))

    def failing(file: Path) -> str:
        if next(calls) == 6:
            raise OSError(28, "No space left on device")
        return real(file)

    monkeypatch.setattr(artifact_files, "sha256", failing)
    answer = trainer("import", store, "--to", target)
    assert answer.code != 0
    assert "No space left on device" in answer.err
    assert "Traceback" not in answer.err
    monkeypatch.undo()
    answer = trainer("import", store, "--to", target, "--json")
    assert answer.code == 0, answer.err
    client = MlflowClient(target, target)
    found = everything(client, kind)
    assert {name: found[name] for name in EXPECTED} == EXPECTED
    experiment = client.get_experiment_by_name(f"moved {kind}")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    assert len(runs) == len({run.data.tags[RUN_TAG] for run in runs}) == 3
    assert {run.data.tags[STATE_TAG] for run in runs} == {"complete"}


# Kills itself at a later and later step, a transaction or a file, and begins anew each time, until it comes to its end.
# A fork each: what is imported once need not be imported again.
KILLED = """
import os, signal, sys
from sqlalchemy import event
from sqlalchemy.engine import Engine
from trainer.cli.main import main
from trainer.transfer import artifact_files
arguments = sys.argv[1:]
def dies_at(step):
    left = [step]
    def count(*_):
        left[0] -= 1
        if not left[0]:
            os.kill(os.getpid(), signal.SIGKILL)
    event.listen(Engine, "commit", count)
    real = artifact_files.sha256
    artifact_files.sha256 = lambda file: count() or real(file)
def forked(work):
    child = os.fork()
    if not child:
        work()
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
def work():
    dies_at(step)
    main(arguments)
step = killed = 0
code = -signal.SIGKILL
while code == -signal.SIGKILL:
    step += 7
    code = forked(work)
    killed += code == -signal.SIGKILL
print(killed)
sys.exit(code)
"""


def test_killed_import_is_finished(written_store: tuple[str, Path], target: str, tmp_path: Path) -> None:
    """Killed at many steps, one after the other: the same command goes on each time, and nothing is there twice."""
    kind, folder = written_store
    if kind.endswith("2"):
        pytest.skip("its steps are the same, and fewer")
    done = programs.run(["-c", KILLED, "import", store_in(kind, folder), "--to", target], cwd=tmp_path, timeout=500)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.splitlines()[-1]) >= 3
    client = MlflowClient(target, target)
    found = everything(client, kind)
    assert {name: found[name] for name in EXPECTED} == EXPECTED
    assert found["loss"] == [(step, 1 / (step + 1)) for step in range(30)]
    experiment = client.get_experiment_by_name(f"moved {kind}")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    assert len({run.data.tags[RUN_TAG] for run in runs}) == len(runs) == 3
    assert sorted(found["versions"]) == ["1", "2"]


@pytest.mark.process
def test_server_is_brought_into_another(
    trainer: Trainer, tmp_path: Path, target: str, request: pytest.FixtureRequest
) -> None:
    """From a server, by --from; a server is not brought into itself."""
    # Its own: what other tests have left on theirs would all be brought in.
    with serving(tmp_path, request.getfixturevalue("_template")) as server:
        client = MlflowClient(server, server)
        experiment = client.create_experiment("from a server")
        run = client.create_run(experiment, run_name="r")
        client.log_text(run.info.run_id, "x", "x.txt")
        client.set_terminated(run.info.run_id)
        answer = trainer("import", "--from", server, "--to", server)
        assert (answer.code, "are one" in answer.err) == (2, True)
        answer = trainer("import", "--from", server, "--to", target)
    assert answer.code == 0, answer.err
    there = MlflowClient(target, target)
    found = there.get_experiment_by_name("from a server")
    assert found is not None
    (copy,) = there.search_runs([found.experiment_id])
    assert copy.data.tags[RUN_TAG] == run.info.run_id
    assert [one.path for one in there.list_artifacts(copy.info.run_id)] == ["x.txt"]


def test_lost_files_are_told_of(
    written_store: tuple[str, Path],
    trainer: Trainer,
    target: str,
    new_database: Callable[[Path], str],
    tmp_path: Path,
) -> None:
    """A store without its artifacts is brought in without them, which is said; another folder can be named."""
    kind, before = written_store
    if kind != "sqlite":
        pytest.skip("a file store has its artifacts inside")
    lone = Path(shutil.copy(before / "mlflow.db", tmp_path / "lone.db"))
    with closing(sqlite3.connect(lone)) as database:
        database.execute("UPDATE runs SET artifact_uri = replace(artifact_uri, ?, '/lost')", (str(before),))
        database.execute(
            "UPDATE logged_models SET artifact_location = replace(artifact_location, ?, '/lost')", (str(before),)
        )
        database.commit()
    answer = trainer("import", str(lone), "--to", target, "--json")
    assert answer.code == 0, answer.err
    assert any(what.startswith("files of logged model") for what in json.loads(answer.out)["left_out"])
    (tmp_path / "other").mkdir()
    other = new_database(tmp_path / "other")
    answer = trainer("import", str(lone), "--artifacts", str(before), "--to", other, "--json")
    assert answer.code == 0, answer.err
    assert [what for what in json.loads(answer.out)["left_out"] if what.startswith("files of logged")] == []


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "name what to import"),
        (("mlruns", "--from", "http://localhost:1"), "name what to import"),
        (("nowhere",), "there is no such file or folder"),
        (("empty",), "holds no experiment"),
        (("text.db",), "cannot be read as a SQLite file"),
        (("other.db",), "is no database of MLflow's"),
        (("other.db", "--artifacts", "nowhere"), "there is no such folder"),
    ],
)
def test_what_is_no_store_is_one_line(workdir: Path, trainer: Trainer, arguments: tuple[str, ...], says: str) -> None:
    (workdir / "empty").mkdir()
    (workdir / "text.db").write_text("SQLite is a database, and this is none. " * 50)
    with closing(sqlite3.connect(workdir / "other.db")) as database:
        database.execute("CREATE TABLE cats (name TEXT)")
    answer = trainer("import", *arguments, "--to", f"sqlite:///{workdir}/target.db")
    assert answer.code == 2, answer.err
    assert says in answer.err
    assert "Traceback" not in answer.err
    assert not (workdir / "target.db").exists()


def test_other_content_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that arrives with other content fails the import."""
    for name in ("from", "to"):
        (tmp_path / name).mkdir()
    (tmp_path / "from" / "a.txt").write_text("a")
    source, target = (artifact_files.open_repository((tmp_path / name).as_uri(), "") for name in ("from", "to"))
    answers = iter("12")
    monkeypatch.setattr(artifact_files, "sha256", lambda _file: next(answers))
    with pytest.raises(TrackingError, match=r"a\.txt has arrived with other content"):
        list(artifact_files.copy_files(source, target, {}))
