"""Clients that write an artifact's name again replace it or are refused at once, by one setting, on both storages."""

from __future__ import annotations

import contextlib
import json
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import mlflow
import numpy as np
import pandas as pd
import pytest
import requests
from kedro.io import DatasetError
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from sklearn.linear_model import LogisticRegression

from .stack import STORAGE, Stack

SETTINGS = ("allow", "refuse")
# Seconds within which a refusal has to come: MLflow's client would try again at a server error, for minutes.
AT_ONCE = 20.0
FEATURES = pd.DataFrame({"a": np.arange(40.0), "b": np.arange(40.0)[::-1] ** 2})
TARGET = (FEATURES["a"] > 20).astype(int)
REFUSED = (MlflowException, requests.HTTPError, DatasetError)


@pytest.fixture(autouse=True, params=SETTINGS)
def setting(
    request: pytest.FixtureRequest, stack: Stack, strict_url: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    """The setting of the server that the test's client speaks to; the client is patient, as by default."""
    monkeypatch.delenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES")
    before = mlflow.get_tracking_uri()
    url = stack.url if request.param == "allow" else strict_url
    mlflow.set_tracking_uri(url)
    yield request.param
    while mlflow.active_run():
        mlflow.end_run()
    mlflow.set_tracking_uri(before)


@pytest.fixture
def run() -> Iterator[Any]:
    """An active run."""
    with mlflow.start_run() as run:
        yield run


def read(run_id: str, path: str) -> bytes:
    """Returns an artifact's content."""
    answer = requests.get(f"{mlflow.get_tracking_uri()}/get-artifact", {"run_id": run_id, "path": path}, timeout=30)
    assert answer.status_code == 200, answer.text
    return answer.content


def figure(value: int) -> Any:
    """Returns a figure."""
    from matplotlib.figure import Figure

    made = Figure()
    made.subplots().plot([0, value])
    return made


# What clients do, each once a call, with a counter that makes the content another one; all write these paths again.


def log_file(value: int, folder: Path, name: str, artifact_path: str | None = None) -> None:
    """Logs a file."""
    (folder / name).write_text(f"content {value}")
    mlflow.log_artifact(str(folder / name), artifact_path)


def log_folder(value: int, folder: Path) -> None:
    """Logs a training's output folder, as loops do after each epoch: what was there, what grew, what is new."""
    (folder / "config.yaml").write_text("rate: 0.1\n")
    with (folder / "train.log").open("a") as log:
        log.write(f"epoch {value}\n")
    mlflow.log_artifacts(str(folder), "out")


def save_model(value: int, folder: Path) -> None:
    """Logs a model as files below the run, as MLflow 2 did and `save_model` with `log_artifacts` does."""
    place = folder / f"model-{value}"
    shutil.rmtree(place, ignore_errors=True)
    fitted = LogisticRegression(C=value).fit(FEATURES, TARGET)
    mlflow.sklearn.save_model(fitted, str(place), pip_requirements=["scikit-learn"])
    mlflow.log_artifacts(str(place), "model")


def resume(value: int, folder: Path) -> None:
    """Writes a result into a run that is resumed by its id, as a script does that is started again."""
    active = mlflow.active_run()
    assert active is not None
    mlflow.end_run()
    mlflow.start_run(run_id=active.info.run_id)
    log_file(value, folder, "result.txt")


def upload_in_the_ui(value: int, _: Path) -> None:
    """Uploads a file by the route that MLflow's UI has for it."""
    active = mlflow.active_run()
    assert active is not None
    answer = requests.post(
        f"{mlflow.get_tracking_uri()}/ajax-api/2.0/mlflow/upload-artifact",
        params={"run_uuid": active.info.run_id, "path": "notes/ui.txt"},
        data=f"content {value}".encode(),
        timeout=60,
    )
    answer.raise_for_status()


def save_kedro_dataset(value: int, folder: Path) -> None:
    """Saves a Kedro data set whose artifact belongs to a fixed run."""
    from kedro_mlflow.io.artifacts import MlflowArtifactDataset  # type: ignore[import-untyped]

    active = mlflow.active_run()
    assert active is not None
    dataset: Any = MlflowArtifactDataset(
        {"type": "text.TextDataset", "filepath": str(folder / "scores.txt")}, run_id=active.info.run_id
    )
    dataset.save(f"content {value}")


def evaluate(value: int, _: Path) -> None:
    """Evaluates predictions by MLflow, whose pictures have fixed names."""
    data = FEATURES.assign(target=TARGET, prediction=(FEATURES["a"] > value).astype(int))
    mlflow.models.evaluate(  # type: ignore[no-untyped-call]
        data=data, targets="target", predictions="prediction", model_type="classifier", evaluators="default"
    )


class Habit(NamedTuple):
    """What a client does twice.

    Attributes:
        act: Does it, with a number that makes the content another one.
        path: An artifact that it writes each time.
    """

    act: Callable[[int, Path], object]
    path: str


HABITS = {
    "log_text": Habit(lambda value, _: mlflow.log_text(f"epoch {value}", "status.txt"), "status.txt"),
    "log_dict": Habit(lambda value, _: mlflow.log_dict({"epoch": value}, "config.json"), "config.json"),
    "log_figure": Habit(lambda value, _: mlflow.log_figure(figure(value), "curve.png"), "curve.png"),
    "log_image": Habit(
        lambda value, _: mlflow.log_image(np.full((4, 4, 3), value, np.uint8), "image.png"), "image.png"
    ),
    "log_table appends": Habit(lambda value, _: mlflow.log_table({"n": [value]}, "table.json"), "table.json"),
    "checkpoint named last": Habit(
        lambda value, folder: log_file(value, folder, "last.ckpt", "points"), "points/last.ckpt"
    ),
    "folder each epoch": Habit(log_folder, "out/train.log"),
    "model as files": Habit(save_model, "model/model.skops"),
    "resumed run": Habit(resume, "result.txt"),
    "upload in the UI": Habit(upload_in_the_ui, "notes/ui.txt"),
    "Kedro data set of a fixed run": Habit(save_kedro_dataset, "scores.txt"),
    "evaluate": Habit(evaluate, "confusion_matrix.png"),
}


# What writes other bytes each time, whatever it is given: it appends, or notes the time.
OTHER_BYTES = ("log_table appends", "folder each epoch", "model as files")


@pytest.mark.parametrize("habit", HABITS.values(), ids=HABITS.keys())
def test_name_written_again(habit: Habit, setting: str, run: Any, tmp_path: Path) -> None:
    """Allowed, the last content is there; refused, the answer is 400 at once and the first content stays."""
    habit.act(1, tmp_path)
    first = read(run.info.run_id, habit.path)
    began = time.monotonic()
    if setting == "allow":
        habit.act(2, tmp_path)
        assert read(run.info.run_id, habit.path) != first
        return
    with pytest.raises(REFUSED, match=r"400|cannot be overwritten"):
        habit.act(2, tmp_path)
    assert time.monotonic() - began < AT_ONCE
    assert read(run.info.run_id, habit.path) == first


@pytest.mark.parametrize("name", [name for name in HABITS if name not in OTHER_BYTES])
def test_same_bytes_are_accepted(name: str, run: Any, tmp_path: Path) -> None:
    """Whatever the setting: the first upload may have arrived, and only its answer been lost."""
    habit = HABITS[name]
    habit.act(1, tmp_path)
    first = read(run.info.run_id, habit.path)
    habit.act(1, tmp_path)
    assert read(run.info.run_id, habit.path) == first


def test_appended_table_has_all_rows(setting: str, run: Any) -> None:
    mlflow.log_table({"n": [1]}, "table.json")
    if setting == "refuse":
        with pytest.raises(REFUSED, match="400"):
            mlflow.log_table({"n": [2]}, "table.json")
    else:
        mlflow.log_table({"n": [2]}, "table.json")
    rows = json.loads(read(run.info.run_id, "table.json"))["data"]
    assert rows == ([[1], [2]] if setting == "allow" else [[1]])


def test_folder_each_epoch_is_whole(setting: str, run: Any, tmp_path: Path) -> None:
    """Refused, the client tells the files that differ; the same ones and the new ones arrive."""
    for epoch in range(3):
        (tmp_path / f"epoch-{epoch}.ckpt").write_text(f"weights {epoch}")
        if setting == "allow" or epoch == 0:
            log_folder(epoch, tmp_path)
        else:
            with pytest.raises(REFUSED, match="400"):
                log_folder(epoch, tmp_path)
    names = {item.path for item in MlflowClient().list_artifacts(run.info.run_id, "out")}
    kept = read(run.info.run_id, "out/train.log").decode()
    if setting == "allow":
        assert names == {"out/config.yaml", "out/train.log", *(f"out/epoch-{epoch}.ckpt" for epoch in range(3))}
        assert kept == "epoch 0\nepoch 1\nepoch 2\n"
    else:
        assert names >= {"out/config.yaml", "out/train.log", "out/epoch-0.ckpt"}
        assert kept == "epoch 0\n"


@pytest.mark.parametrize("change", ["signature", "requirements"])
def test_logged_model_is_changed(setting: str, run: Any, change: str) -> None:
    """set_signature and update_model_requirements write MLmodel and the list of requirements again."""
    fitted = LogisticRegression().fit(FEATURES, TARGET)
    info = mlflow.sklearn.log_model(fitted, name="model", pip_requirements=["scikit-learn"])

    def act() -> None:
        if change == "signature":
            signature = mlflow.models.infer_signature(FEATURES, fitted.predict(FEATURES))
            mlflow.models.set_signature(info.model_uri, signature)
        else:
            mlflow.models.update_model_requirements(info.model_uri, "add", ["lightgbm==4.7.0"])

    def changed() -> bool:
        if change == "signature":
            return mlflow.models.get_model_info(info.model_uri).signature is not None
        return "lightgbm" in Path(mlflow.pyfunc.get_model_dependencies(info.model_uri)).read_text()

    if setting == "refuse":
        with pytest.raises(REFUSED, match="400"):
            act()
        assert not changed()
    else:
        act()
        assert changed()


def test_autologged_folds(setting: str, run: Any) -> None:
    """Each fold's fit writes the same names. Refused, autologging warns, and the first fold's metrics stay."""
    import lightgbm

    gains = []
    mlflow.lightgbm.autolog(log_models=False, silent=True)
    try:
        for fold in range(3):
            kept = np.arange(40) % 3 != fold
            data = lightgbm.Dataset(FEATURES[kept], TARGET[kept], params={"min_data_in_leaf": 2, "verbosity": -1})
            booster = lightgbm.train({"objective": "binary", "verbosity": -1, "num_threads": 1}, data, fold + 1)
            gains.append(dict(zip(booster.feature_name(), booster.feature_importance("gain"), strict=True)))
    finally:
        mlflow.lightgbm.autolog(disable=True)
    logged = json.loads(read(run.info.run_id, "feature_importance_gain.json"))
    wanted = gains[-1] if setting == "allow" else gains[0]
    assert logged == pytest.approx({name: float(gain) for name, gain in wanted.items() if name in logged})


def test_best_checkpoint_is_loaded(setting: str, run: Any, tmp_path: Path) -> None:
    """MLflow's own checkpoint callback keeps the best epoch under one name."""
    from mlflow.utils import checkpoint_utils

    class Callback(checkpoint_utils.MlflowModelCheckpointCallbackBase):
        def __init__(self) -> None:
            super().__init__(  # type: ignore[no-untyped-call]
                ".txt", "loss", "min", save_best_only=True, save_weights_only=False, save_freq="epoch"
            )
            self.epoch = 0

        def save_checkpoint(self, filepath: str) -> None:
            Path(filepath).write_text(f"epoch {self.epoch}")

    callback: Any = Callback()
    # Refused, autologging would make a warning of the error.
    refused = contextlib.suppress(*REFUSED) if setting == "refuse" else contextlib.nullcontext()
    for callback.epoch, loss in enumerate([0.9, 0.5, 0.7, 0.2]):
        with refused:
            callback.check_and_save_checkpoint_if_needed(callback.epoch, callback.epoch, {"loss": loss})
    download: Any = checkpoint_utils.download_checkpoint_artifact
    loaded = Path(download(run_id=run.info.run_id, dst_path=str(tmp_path))).read_text()
    assert loaded == ("epoch 3" if setting == "allow" else "epoch 0")


# The server and the bucket --------------------------------------------------------------------------------------------


def put(run: Any, name: str, content: bytes) -> requests.Response:
    """Uploads an artifact by MLflow's protocol alone."""
    path = f"{run.info.experiment_id}/{run.info.run_id}/artifacts/{name}"
    url = f"{mlflow.get_tracking_uri()}/api/2.0/mlflow-artifacts/artifacts/{path}"
    return requests.put(url, data=content, timeout=60)


@pytest.mark.parametrize("size", [0, 1000, 2**20, 9 * 2**20, 21 * 2**20], ids=lambda size: f"{size} bytes")
def test_any_size(setting: str, run: Any, size: int) -> None:
    """One request to the storage or several: both know whether the name is there, and whether it holds the same."""
    first, second = bytes(size), b"x" * (size or 1)
    assert put(run, "file.bin", first).status_code == 200
    assert put(run, "file.bin", first).status_code == 200
    answer = put(run, "file.bin", second)
    if setting == "allow":
        assert answer.status_code == 200, answer.text
        assert read(run.info.run_id, "file.bin") == second
    else:
        assert answer.status_code == 400
        assert answer.json()["error_code"] == "RESOURCE_ALREADY_EXISTS"
        said = answer.json()["message"]
        assert f"{run.info.run_id}/artifacts/file.bin exists with other content, and cannot be overwritten" in said
        assert read(run.info.run_id, "file.bin") == first


def test_older_version_is_kept(setting: str, stack: Stack, run: Any) -> None:
    for content in (b"first", b"second"):
        put(run, "note.txt", content)
    name = f"{run.info.experiment_id}/{run.info.run_id}/artifacts/note.txt"
    assert stack.object_versions(name) == ([b"second", b"first"] if setting == "allow" else [b"first"])


@pytest.mark.minio  # Cloud Storage's own tools do it there
@pytest.mark.parametrize("setting", ["allow"], indirect=True)
def test_older_version_is_restored(setting: str, stack: Stack, run: Any) -> None:
    """As docs/operators/overwriting.md says."""
    for content in (b"first", b"second"):
        put(run, "note.txt", content)
    name = f"{run.info.experiment_id}/{run.info.run_id}/artifacts/note.txt"
    command = ("run", "--rm", "--no-deps", "-T", "bucket", "--versions", name)
    listed = [line.split()[0] for line in stack.compose(*command).stdout.splitlines()]
    assert len(listed) == 2
    restored = stack.compose(*command, "--restore", listed[1]).stdout.splitlines()
    assert [line.split()[0] for line in restored[1:]] == listed
    assert read(run.info.run_id, "note.txt") == b"first"
    for wrong in ((*command[:-1], "0/nothing"), (*command, "--restore", "0" * 32)):
        done = stack.compose(*wrong, check=False)
        assert done.returncode == 1
        assert done.stderr.count("bucket: error: ") == 1
        assert "Traceback" not in done.stderr


def test_two_at_once_leave_one(setting: str, run: Any) -> None:
    """Of uploads under one name at the same time, refused, exactly one succeeds."""
    from concurrent.futures import ThreadPoolExecutor

    contents = [bytes([value]) * 2**16 for value in range(8)]
    with ThreadPoolExecutor(8) as pool:
        codes = list(pool.map(lambda content: put(run, "race.bin", content).status_code, contents))
    kept = read(run.info.run_id, "race.bin")
    assert kept in contents
    if setting == "allow":
        assert set(codes) == {200}
    else:
        assert codes.count(200) == 1
        assert set(codes) <= {200, 400, 503}
        assert contents[codes.index(200)] == kept


def test_deleting_stays_refused(run: Any) -> None:
    """Replacing is no deleting: the server removes nothing, whatever its account may."""
    put(run, "kept.txt", b"kept")
    path = f"{run.info.experiment_id}/{run.info.run_id}/artifacts/kept.txt"
    requests.delete(f"{mlflow.get_tracking_uri()}/api/2.0/mlflow-artifacts/artifacts/{path}", timeout=60)
    assert read(run.info.run_id, "kept.txt") == b"kept"


@pytest.mark.parametrize("setting", ["allow"], indirect=True)
def test_wrong_setting_stops_the_start(setting: str, stack: Stack) -> None:
    preparing = {"minio": "bucket", "gcs": "preflight"}[STORAGE]
    for service in (preparing, "mlflow"):
        done = stack.compose(
            "run", "--rm", "--no-deps", "-T", service, check=False, settings={"ARTIFACT_OVERWRITE": "Allow"}
        )
        assert done.returncode == 1, service
        errors = [line for line in (done.stdout + done.stderr).splitlines() if "error" in line]
        assert len(errors) == 1, errors
        assert errors[0].endswith("ARTIFACT_OVERWRITE is Allow: it can be allow or refuse")
    # The address that the failed preparation has taken away.
    stack.compose("run", "--rm", "--no-deps", "-T", preparing)
