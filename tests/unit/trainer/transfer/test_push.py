"""trainer push: from a SQLite store to a real MLflow server, with interruptions and lost replies on the way."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow.pyfunc
import numpy as np
import pytest
import yaml
from mlflow import MlflowClient
from trainer.config.variant import make_variant
from trainer.data.dataset import Dataset
from trainer.runs.plan import Plan
from trainer.runs.train import train_run
from trainer.tracking.connection import connect
from trainer.training.train_config import TrainConfig
from trainer.transfer import copy_marks
from trainer.transfer.push_source import RUN_TAG, SOURCE_TAG

from ..conftest import Answer, Proxy, free_port

Trainer = Callable[..., Answer]
HISTORY = "validation_log_loss"


@dataclass
class Registered:
    """A run in a SQLite store whose model is registered."""

    uri: str
    experiment: str
    run_id: str
    name: str
    client: MlflowClient
    version: str = "1"

    @property
    def model_uri(self) -> str:
        """The version's URI."""
        return f"models:/{self.name}/{self.version}"


def files_of(uri: str, location: str) -> dict[str, str]:
    """Returns the names and SHA-256 digests of the files at a location, downloaded from there."""
    folder = Path(mlflow.artifacts.download_artifacts(location, tracking_uri=uri))
    paths = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def history_of(client: MlflowClient, run_id: str) -> list[tuple[int, float, int]]:
    return sorted((point.step, point.value, point.timestamp) for point in client.get_metric_history(run_id, HISTORY))


def model_of(client: MlflowClient, run_id: str) -> Any:
    outputs = client.get_run(run_id).outputs
    assert outputs is not None
    (output,) = outputs.model_outputs
    return client.get_logged_model(output.model_id)


@pytest.fixture(scope="module")
def trained(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest, dataset: Dataset
) -> tuple[str, str]:
    """Returns a SQLite store, and in it a variant that was trained as a child of another run."""
    file = tmp_path_factory.mktemp("source") / "mlflow.db"
    shutil.copy(request.getfixturevalue("_template"), file)
    destination = connect(f"sqlite:///{file}", "source")
    parent = destination.open().client.create_run(destination.experiment_id, run_name="sweep").info.run_id
    variant = make_variant({"n_estimators": 30, "num_leaves": 4})
    result = train_run(
        variant, dataset, Plan(destination, TrainConfig(seed=5), tags={"colour": "green"}, parent=parent)
    )
    return destination.uri, str(result.run_id)


@pytest.fixture
def registered(trained: tuple[str, str], workdir: Path, request: pytest.FixtureRequest) -> Registered:
    """Returns that variant's run, its experiment and its registered model under names that no other test uses."""
    uri, run_id = trained
    client = MlflowClient(uri, uri)
    name = hashlib.sha256(request.node.name.encode()).hexdigest()[:12]
    client.rename_experiment(client.get_run(run_id).info.experiment_id, f"push {name}")
    model = model_of(client, run_id)
    client.create_registered_model(name, tags={"team": "shop"}, description="who buys")
    mlflow.set_tracking_uri(uri)
    client.create_model_version(
        name,
        f"models:/{model.model_id}",
        run_id=run_id,
        model_id=model.model_id,
        tags={"checked": "yes"},
        description="it",
    )
    client.set_registered_model_alias(name, "best", "1")
    return Registered(uri, f"push {name}", run_id, name, client)


def versions(server: str, name: str) -> list[Any]:
    return list(MlflowClient(server, server).search_model_versions(f"name = '{name}'"))


def copies(server: str, experiment: str) -> tuple[list[Any], list[Any]]:
    """Returns the runs and the models in the experiment of this name."""
    client = MlflowClient(server, server)
    found = client.get_experiment_by_name(experiment)
    if found is None:
        return [], []
    return list(client.search_runs([found.experiment_id])), list(client.search_logged_models([found.experiment_id]))


# A copy ---------------------------------------------------------------------------------------------------------------


def test_copy_holds_everything_and_predicts_the_same(
    registered: Registered, server: str, dataset: Dataset, trainer: Trainer
) -> None:
    answer = trainer(
        "push", registered.model_uri, "--from", registered.uri, "--to", server, "--alias", "champion", "--json"
    )
    assert answer.code == 0, answer.err
    there, here = MlflowClient(server, server), registered.client
    pushed = answer.json
    assert (pushed["name"], pushed["version"], pushed["created"]) == (registered.name, "1", True)

    old, new = here.get_run(registered.run_id), there.get_run(pushed["run_id"])
    assert new.info.run_id != old.info.run_id
    for name in ("run_name", "status", "start_time", "end_time"):
        assert getattr(new.info, name) == getattr(old.info, name), name
    assert there.get_experiment(new.info.experiment_id).name == registered.experiment
    assert new.data.params == old.data.params
    assert new.data.metrics == old.data.metrics
    assert len(history_of(there, new.info.run_id)) == 30
    assert history_of(there, new.info.run_id) == history_of(here, old.info.run_id)
    for name in ("colour", "mlflow.user", "trainer.identity"):
        assert new.data.tags[name] == old.data.tags[name]
    assert "mlflow.parentRunId" not in new.data.tags
    assert new.data.tags[copy_marks.PARENT_RUN_TAG] == old.data.tags["mlflow.parentRunId"]
    assert new.data.tags[RUN_TAG] == old.info.run_id
    assert new.data.tags[SOURCE_TAG] == registered.uri
    assert new.inputs is not None
    assert old.inputs is not None
    assert {(one.dataset.digest, one.tags[0].value) for one in new.inputs.dataset_inputs} == {
        (one.dataset.digest, one.tags[0].value) for one in old.inputs.dataset_inputs
    }
    run_files = files_of(server, new.info.artifact_uri)
    assert run_files == files_of(registered.uri, old.info.artifact_uri)
    assert "plots/pr_curve.png" in run_files

    old_model, new_model = model_of(here, old.info.run_id), model_of(there, new.info.run_id)
    assert (new_model.status, new_model.name, new_model.source_run_id) == ("READY", "model", new.info.run_id)
    assert new_model.params == old_model.params
    assert {(one.key, one.value, one.dataset_digest) for one in new_model.metrics} == {
        (one.key, one.value, one.dataset_digest) for one in old_model.metrics
    }
    assert new_model.tags[copy_marks.MODEL_TAG] == old_model.model_id
    model_files = files_of(server, new_model.artifact_location)
    old_files = files_of(registered.uri, old_model.artifact_location)
    assert {name for name in old_files if model_files.get(name) != old_files[name]} == {"MLmodel"}
    assert pushed["files"] == len(run_files) + len(model_files)

    version = there.get_model_version_by_alias(registered.name, "champion")
    assert (str(version.version), version.run_id, version.source, version.description) == (
        "1",
        new.info.run_id,
        f"models:/{new_model.model_id}",
        "it",
    )
    # What the model's page lists.
    assert json.loads(new_model.tags["mlflow.modelVersions"]) == [{"name": registered.name, "version": 1}]
    assert pushed["model_id"] == new_model.model_id
    assert version.tags["checked"] == "yes"
    assert version.tags[copy_marks.VERSION_TAG] == f"{registered.name}/1"
    model = there.get_registered_model(registered.name)
    assert (model.description, model.tags["team"]) == ("who buys", "shop")

    rows = dataset.test.features
    mlflow.set_tracking_uri(registered.uri)
    mlflow.set_registry_uri(registered.uri)
    expected = mlflow.pyfunc.load_model(registered.model_uri).predict(rows)
    mlflow.set_tracking_uri(server)
    mlflow.set_registry_uri(server)
    loaded = mlflow.pyfunc.load_model(f"models:/{registered.name}@champion")
    np.testing.assert_array_equal(loaded.predict(rows), expected)
    # It names the run and the model of the server that it was loaded from.
    assert (loaded.metadata.run_id, loaded.metadata.model_id) == (new.info.run_id, new_model.model_id)


def test_second_push_does_nothing_but_move_the_alias(
    registered: Registered, server: str, proxy: Proxy, trainer: Trainer
) -> None:
    first = trainer("push", registered.model_uri, "--from", registered.uri, "--to", server, "--json").json
    # The same version by its alias and the same server by another address; a tag has been added meanwhile.
    registered.client.set_model_version_tag(registered.name, "1", "later", "tag")
    again = trainer(
        "push",
        f"models:/{registered.name}@best",
        "--from",
        registered.uri,
        "--to",
        proxy.url,
        "--alias",
        "champion",
        "--json",
    ).json
    assert (again["created"], again["version"], again["run_id"]) == (False, "1", first["run_id"])
    assert again["files"] == 0
    assert [path for method, path in proxy.seen if method in ("PUT", "DELETE")] == []
    writes = [path for method, path in proxy.seen if method == "POST" and not path.endswith("/search")]
    assert [path.rpartition("/")[2] for path in writes] == ["alias"]
    assert len(versions(server, registered.name)) == 1
    assert MlflowClient(server, server).get_model_version_by_alias(registered.name, "champion").version == "1"


def test_pushed_version_is_found_on_later_pages(
    registered: Registered, server: str, trainer: Trainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pushed version is found among more than fit on a page."""
    command = ("push", registered.model_uri, "--from", registered.uri, "--to", server, "--json")
    first = trainer(*command).json
    MlflowClient(server, server).create_model_version(
        registered.name, f"models:/{first['model_id']}", run_id=first["run_id"], model_id=first["model_id"]
    )
    search = MlflowClient.search_model_versions

    def first_page(client: MlflowClient, filters: str, **_: Any) -> Any:
        return search(client, filters, max_results=1)

    monkeypatch.setattr(MlflowClient, "search_model_versions", first_page)
    again = trainer(*command).json
    assert (again["created"], again["version"]) == (False, first["version"])


def test_second_version_of_a_run_shares_its_copy(registered: Registered, server: str, trainer: Trainer) -> None:
    first = trainer("push", registered.model_uri, "--from", registered.uri, "--to", server, "--json").json
    model = model_of(registered.client, registered.run_id)
    registered.client.create_model_version(
        registered.name, model.artifact_location, run_id=registered.run_id, model_id=model.model_id
    )
    second = trainer("push", f"models:/{registered.name}/2", "--from", registered.uri, "--to", server, "--json").json
    assert (second["created"], second["version"]) == (True, "2")
    assert (second["run_id"], second["model_id"]) == (first["run_id"], first["model_id"])
    runs, models = copies(server, registered.experiment)
    assert (len(runs), len(models)) == (1, 1)


def test_version_without_logged_model_is_copied(
    registered: Registered, server: str, tmp_path: Path, trainer: Trainer
) -> None:
    """Version without a logged model is copied too."""
    # As MLflow 2 registered them: files below the run.
    model, old = model_of(registered.client, registered.run_id), registered.client.get_run(registered.run_id)
    folder = mlflow.artifacts.download_artifacts(
        model.artifact_location, dst_path=str(tmp_path), tracking_uri=registered.uri
    )
    registered.client.log_artifacts(registered.run_id, folder, "old")
    registered.client.create_model_version(registered.name, f"{old.info.artifact_uri}/old", run_id=registered.run_id)
    answer = trainer("push", f"models:/{registered.name}/2", "--from", registered.uri, "--to", server, "--json")
    assert answer.code == 0, answer.err
    mlflow.set_tracking_uri(server)
    mlflow.set_registry_uri(server)
    loaded = mlflow.pyfunc.load_model(f"models:/{registered.name}/{answer.json['version']}")
    assert loaded.metadata.model_id == answer.json["model_id"]
    assert (
        trainer("push", f"models:/{registered.name}/2", "--from", registered.uri, "--to", server, "--json").json[
            "created"
        ]
        is False
    )


def test_copy_back_into_a_file(
    registered: Registered, server: str, tmp_path: Path, request: pytest.FixtureRequest, trainer: Trainer
) -> None:
    shutil.copy(request.getfixturevalue("_template"), tmp_path / "other.db")
    pushed = trainer("push", registered.model_uri, "--from", registered.uri, "--to", server, "--json").json
    # A login in the address is used, and never written down.
    login = server.replace("://", "://user:secret@")
    other = f"sqlite:///{tmp_path}/other.db"
    answer = trainer("push", f"models:/{registered.name}/1", "--from", login, "--to", other, "--json")
    assert answer.code == 0, answer.err
    client = MlflowClient(other, other)
    tags = client.get_run(answer.json["run_id"]).data.tags
    assert (tags[RUN_TAG], tags[SOURCE_TAG]) == (pushed["run_id"], server)
    mlmodel = files_of(other, model_of(client, answer.json["run_id"]).artifact_location)
    assert "MLmodel" in mlmodel


# Interruptions --------------------------------------------------------------------------------------------------------

STEPS = [
    ("POST", "/runs/create", "interrupt"),
    ("PUT", "/pr_curve.png", "interrupt"),
    ("PUT", "/MLmodel", "interrupt"),
    ("POST", "/outputs", "interrupt"),
    ("POST", "/model-versions/create", "interrupt"),
    ("POST", "/runs/log-batch", 400),
    ("POST", "/model-versions/create", 400),
]


@pytest.mark.parametrize(("method", "part", "fault"), STEPS)
def test_interrupted_copy_is_finished_later(
    method: str, part: str, fault: str | int, registered: Registered, server: str, proxy: Proxy, trainer: Trainer
) -> None:
    """Interrupted copy is no version and is finished by the same command."""
    proxy.fault = lambda its, path, _count: fault if its == method and part in path else None
    answer = trainer("push", registered.model_uri, "--from", registered.uri, "--to", proxy.url)
    assert answer.code == (130 if fault == "interrupt" else 1), answer.err
    proxy.fault = lambda _method, _path, _count: None
    registering = part == "/model-versions/create"
    if not (registering and fault == "interrupt"):
        assert versions(server, registered.name) == []
    runs, models = copies(server, registered.experiment)
    if not registering:
        assert {one.info.status for one in runs} <= {"KILLED" if fault == "interrupt" else "FAILED", "RUNNING"}
        assert {str(one.status) for one in models} <= {"PENDING"}
    again = trainer("push", registered.model_uri, "--from", registered.uri, "--to", server, "--json")
    assert again.code == 0, again.err
    (version,) = versions(server, registered.name)
    runs, models = copies(server, registered.experiment)
    assert [(one.info.run_id, one.info.status) for one in runs] == [(version.run_id, "FINISHED")]
    assert [(one.model_id, str(one.status)) for one in models] == [(version.source.removeprefix("models:/"), "READY")]
    there = MlflowClient(server, server)
    assert history_of(there, version.run_id) == history_of(registered.client, registered.run_id)
    old = registered.client.get_run(registered.run_id)
    assert (runs[0].data.metrics, runs[0].info.end_time) == (old.data.metrics, old.info.end_time)
    assert files_of(server, runs[0].info.artifact_uri) == files_of(registered.uri, old.info.artifact_uri)
    mlflow.set_tracking_uri(server)
    mlflow.set_registry_uri(server)
    assert mlflow.pyfunc.load_model(f"models:/{registered.name}/1").metadata.run_id == version.run_id


@pytest.mark.parametrize("part", ["/runs/create", "/logged-models", "/outputs", "/model-versions/create"])
def test_lost_reply_makes_nothing_twice(
    part: str, registered: Registered, server: str, proxy: Proxy, trainer: Trainer
) -> None:
    proxy.fault = lambda method, path, count: "drop reply" if method == "POST" and part in path and not count else None
    answer = trainer("push", registered.model_uri, "--from", registered.uri, "--to", proxy.url)
    assert answer.code == 0, answer.err
    runs, models = copies(server, registered.experiment)
    assert (len(runs), len(models), len(versions(server, registered.name))) == (1, 1, 1)


def test_file_that_arrives_changed_is_found(
    registered: Registered, server: str, proxy: Proxy, trainer: Trainer
) -> None:
    proxy.fault = lambda method, path, _count: b"other" if method == "GET" and path.endswith("pr_curve.png") else None
    answer = trainer("push", registered.model_uri, "--from", registered.uri, "--to", proxy.url)
    assert answer.code == 1
    assert answer.error == "plots/pr_curve.png has arrived with other content; the same command tries it again"
    assert versions(server, registered.name) == []
    ((copy,), _models) = copies(server, registered.experiment)
    assert copy.info.status == "FAILED"


def test_metric_that_arrives_changed_is_found(
    registered: Registered, server: str, proxy: Proxy, trainer: Trainer
) -> None:
    proxy.fault = lambda _method, path, _count: b'{"metrics": []}' if "get-history" in path else None
    answer = trainer("push", registered.model_uri, "--from", registered.uri, "--to", proxy.url)
    assert (answer.code, "has not the values of the source" in answer.error) == (1, True)
    assert versions(server, registered.name) == []


# Bad input ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "uri", ["purchase", "models:/purchase", "models:/purchase/latest", "runs:/abc/model", "models:/"]
)
def test_uri_that_names_no_version(uri: str, workdir: Path, trainer: Trainer) -> None:
    answer = trainer("push", uri, "--to", "http://127.0.0.1:1")
    assert (answer.code, "names no model version; write models:/NAME/3" in answer.error) == (2, True)


@pytest.mark.parametrize("uri", ["models:/nobody/1", "models:/nobody@champion", "models:/{name}/7", "models:/{name}@x"])
def test_version_that_does_not_exist(uri: str, registered: Registered, server: str, trainer: Trainer) -> None:
    answer = trainer("push", uri.format(name=registered.name), "--from", registered.uri, "--to", server)
    assert answer.code == 2
    assert answer.error.startswith(f"{registered.uri} has no {uri.format(name=registered.name)}: ")
    # Nothing has been made on the other server, not even the experiment.
    assert MlflowClient(server).get_experiment_by_name(registered.experiment) is None


def test_copy_to_itself_is_refused(registered: Registered, trainer: Trainer) -> None:
    answer = trainer("push", registered.model_uri, "--from", registered.uri, "--to", registered.uri)
    assert (answer.code, "--to and --from are one server" in answer.error) == (2, True)
    assert len(registered.client.search_model_versions(f"name = '{registered.name}'")) == 1


def test_unfinished_run_is_not_copied(registered: Registered, server: str, trainer: Trainer) -> None:
    """Run that goes on and version without a run are refused."""
    client = registered.client
    client.update_run(registered.run_id, status="RUNNING")
    answer = trainer("push", registered.model_uri, "--from", registered.uri, "--to", server)
    assert (answer.code, "has not ended yet" in answer.error) == (2, True)
    client.set_terminated(registered.run_id)
    client.create_model_version(registered.name, model_of(client, registered.run_id).artifact_location)
    answer = trainer("push", f"models:/{registered.name}/2", "--from", registered.uri, "--to", server)
    assert (answer.code, "belongs to no run" in answer.error) == (2, True)


def test_servers_out_of_reach_and_missing_option(registered: Registered, trainer: Trainer) -> None:
    nowhere = f"http://user:secret@127.0.0.1:{free_port()}"
    for args in (["--from", registered.uri, "--to", nowhere], ["--from", nowhere, "--to", registered.uri]):
        answer = trainer("push", registered.model_uri, *args, "--wait", "0")
        assert (answer.code, "cannot reach" in answer.error, "secret" in answer.error) == (1, True, False)
    answer = trainer("push", registered.model_uri)
    assert (answer.code, "--to" in answer.error) == (2, True)


def test_ids_are_replaced_in_a_copied_file(tmp_path: Path) -> None:
    """Ids are replaced and the rest of the file kept."""
    file = tmp_path / "MLmodel"
    before = {
        "artifact_path": "mlflow-artifacts:/1/models/m-1/artifacts",
        "flavors": {"sklearn": {"pickled_model": "model.skops"}},
        "model_id": "m-1",
        "model_uuid": "m-1",
        "run_id": "old",
        "signature": {"inputs": json.dumps([{"name": "Größe"}])},
        "utc_time_created": "2026-11-24 11:00:00.123456",
    }
    file.write_text(yaml.safe_dump(before, allow_unicode=True))
    copy_marks.replace_ids(file, {"run_id": "new", "model_id": "m-2", "artifact_path": "elsewhere"})
    changed = {"artifact_path": "elsewhere", "model_id": "m-2", "model_uuid": "m-2", "run_id": "new"}
    assert yaml.safe_load(file.read_text()) == {**before, **changed}
