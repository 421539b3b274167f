"""Waiting, refusals, lost replies, failures half-way: a real MLflow server, behind a proxy that misbehaves."""

from __future__ import annotations

import fcntl
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow.sklearn
import numpy as np
import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from sqlalchemy import event
from sqlalchemy.engine import Engine
from trainer.config.parameter import Value
from trainer.config.variant import make_variant
from trainer.data.dataset import Dataset
from trainer.runs.plan import Plan, TrainResult
from trainer.runs.train import train_run
from trainer.sweeps.sweep import run_sweep
from trainer.tracking import connection
from trainer.tracking.client import Destination
from trainer.tracking.connection import connect, make_client
from trainer.tracking.settings import as_default
from trainer.tracking.uris import COMPOSED_URI
from trainer.training.train_config import TrainConfig
from trainer.util.errors import TrackingError
from trainer.util.signals import interruptible

from ..conftest import Proxy, free_port, warm_pool

Trainer = Callable[..., Any]
SMALL: dict[str, Value] = {"n_estimators": 8, "num_leaves": 6}


@pytest.fixture
def experiment(request: pytest.FixtureRequest) -> str:
    return str(request.node.name)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retry without the pauses that real networks need."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "0")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_BACKOFF_JITTER", "0")


def train(url: str, experiment: str, dataset: Dataset) -> TrainResult:
    destination = connect(url, experiment, wait=5)
    return train_run(make_variant(SMALL), dataset, Plan(destination, TrainConfig(seed=5)))


def all_runs(server: str, experiment: str) -> list[Any]:
    client = MlflowClient(server)
    found = client.get_experiment_by_name(experiment)
    assert found is not None
    return list(client.search_runs([found.experiment_id]))


def all_models(server: str, experiment: str) -> list[Any]:
    client = MlflowClient(server)
    found = client.get_experiment_by_name(experiment)
    assert found is not None
    return list(client.search_logged_models([found.experiment_id]))


# A server that is there -----------------------------------------------------------------------------------------------


def test_run_is_tracked_through_the_server(server: str, experiment: str, dataset: Dataset) -> None:
    result = train(server, experiment, dataset)
    (tracked,) = all_runs(server, experiment)
    assert tracked.info.status == "FINISHED"
    assert tracked.info.artifact_uri.startswith("mlflow-artifacts:")
    assert result.url == f"{server}/#/experiments/{tracked.info.experiment_id}/runs/{result.run_id}"
    mlflow.set_tracking_uri(server)
    model = mlflow.sklearn.load_model(result.model_uri)
    assert np.isfinite(model.predict_proba(dataset.test.features)).all()


def test_a_run_takes_few_requests(proxy: Proxy, experiment: str, dataset: Dataset) -> None:
    train(proxy.url, experiment, dataset)
    assert proxy.count("POST", "/runs/create") == 1
    assert proxy.count("POST", "/runs/log-batch") == 3
    # One a file: six plots, the data of each, the model's, and config.yaml.
    assert sum(1 for method, _ in proxy.seen if method == "PUT") == 22
    assert len(proxy.seen) <= 36


def test_long_history_is_logged_completely(server: str, experiment: str, dataset: Dataset) -> None:
    plan = Plan(connect(server, experiment))
    result = train_run(make_variant({"n_estimators": 1_203, "num_leaves": 2}), dataset, plan)
    history = MlflowClient(server).get_metric_history(str(result.run_id), "validation_log_loss")
    assert sorted(point.step for point in history) == list(range(1, 1_204))


def test_sweep_is_tracked_through_the_server(server: str, experiment: str, dataset: Dataset) -> None:
    plan = Plan(connect(server, experiment), TrainConfig(seed=5))
    chosen = [make_variant({"learning_rate": rate}, SMALL) for rate in (0.1, 0.2)]
    done = run_sweep(chosen, dataset, plan, warm_pool(2))
    assert len(all_runs(server, experiment)) == 3
    assert done.url is not None
    assert done.url.startswith(server)


def test_link_uses_the_address_of_the_ui(server: str, experiment: str) -> None:
    destination = connect(server, experiment, ui_url="https://user:secret@ml.example.com/")
    assert destination.run_url("abc") == f"https://ml.example.com/#/experiments/{destination.experiment_id}/runs/abc"


def test_two_commands_create_one_experiment(server: str, experiment: str) -> None:
    """Two commands may create the experiment at once."""
    found: list[str] = []
    threads = [
        threading.Thread(target=lambda: found.append(connect(server, experiment).experiment_id)) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(found) == 4
    assert len(set(found)) == 1


def test_deleted_experiment_is_reported(server: str, experiment: str) -> None:
    destination = connect(server, experiment)
    MlflowClient(server).delete_experiment(destination.experiment_id)
    with pytest.raises(TrackingError, match="is deleted; restore it"):
        connect(server, experiment)


def test_refusal_shows_at_once_with_async_logging(destination: Destination, monkeypatch: pytest.MonkeyPatch) -> None:
    """Refusal shows at once whatever is said of asynchronous logging."""
    monkeypatch.setenv("MLFLOW_ENABLE_ASYNC_LOGGING", "true")
    with pytest.raises(MlflowException), destination.open().run("run", {}) as active:  # noqa: PT012
        active.log(params={"a": 1})
        active.log(params={"a": 2})


def test_one_process_at_a_time_opens_a_database(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = threading.Event()
    monkeypatch.setattr("mlflow.MlflowClient", lambda **_: opened.set())
    folder = os.open(workdir, os.O_RDONLY)
    fcntl.flock(folder, fcntl.LOCK_EX)
    try:
        threading.Thread(target=make_client, args=(f"sqlite:///{workdir}/mlflow.db",), daemon=True).start()
        assert not opened.wait(0.5)
    finally:
        os.close(folder)
    assert opened.wait(10)


def test_default_server_is_what_it_was_before(workdir: Path) -> None:
    before = mlflow.get_tracking_uri(), mlflow.get_registry_uri()
    with as_default(f"sqlite:///{workdir}/other.db"):
        assert mlflow.get_tracking_uri() == mlflow.get_registry_uri() == f"sqlite:///{workdir}/other.db"
    assert (mlflow.get_tracking_uri(), mlflow.get_registry_uri()) == before


def test_signal_at_the_end_of_a_run_is_kept(destination: Destination, monkeypatch: pytest.MonkeyPatch) -> None:
    """Signal while a run is finished is not lost."""
    opened = destination.open()
    finish = opened.client.set_terminated

    def interrupted(*args: Any) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        finish(*args)

    monkeypatch.setattr(opened.client, "set_terminated", interrupted)
    with pytest.raises(KeyboardInterrupt, match="SIGTERM"), interruptible(), opened.run("unit", {}) as run:
        pass
    assert opened.client.get_run(run.run_id).info.status == "FINISHED"


# A server that is not there, or refuses -------------------------------------------------------------------------------


def test_unreachable_server_is_one_line(trainer: Trainer, workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "_CONTAINER", workdir / "none")
    uri = f"http://127.0.0.1:{free_port()}"
    answer = trainer("--tracking-uri", uri, "--wait", "0.3")
    assert answer.code == 1
    assert answer.error == f"cannot reach {uri} after 0.3 s (--wait): connection refused"


def test_unknown_host_is_one_line(trainer: Trainer, workdir: Path) -> None:
    answer = trainer("--tracking-uri", "http://no-such-host.invalid:5000", "--wait", "0")
    assert answer.code == 1
    assert "no-such-host.invalid" in answer.error


def test_missing_server_names_the_start_command(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Composed server that is not there brings the command that starts it."""
    # As the container's /etc/hosts or its network would answer; here neither knows the name.
    asked = f"cannot reach {COMPOSED_URI} after 0 s (--wait): "
    with pytest.raises(TrackingError) as found:
        connect(COMPOSED_URI, "unit", wait=0)
    assert str(found.value) in (
        f"{asked}the host name is not known; is the stack up? (docker compose up --detach --wait)",
        f"{asked}connection refused; is the stack up? (docker compose up --detach --wait)",
    )
    # A server that is there but slow is no stack that is down, nor is any other server.
    monkeypatch.setattr(connection, "reason_of", lambda _error: "it does not answer in time")
    with pytest.raises(TrackingError, match=r"it does not answer in time$"):
        connect(COMPOSED_URI, "unit", wait=0)


@pytest.mark.parametrize("inside", [True, False])
def test_localhost_is_explained_in_containers(workdir: Path, monkeypatch: pytest.MonkeyPatch, inside: bool) -> None:
    """Localhost is explained inside a container only."""
    mark = workdir / ".dockerenv"
    monkeypatch.setattr(connection, "_CONTAINER", mark)
    if inside:
        mark.touch()
    with pytest.raises(TrackingError) as found:
        connect("http://localhost:9", "unit", wait=0)
    assert ("inside a container that is the container itself" in str(found.value)) is inside


@pytest.mark.parametrize("uri", ["http://", "nonsense://x", "http://127.0.0.1:99999", "sqlite:////proc/none/x.db"])
def test_impossible_uri_is_one_line(trainer: Trainer, workdir: Path, uri: str) -> None:
    answer = trainer("--tracking-uri", uri, "--wait", "0")
    assert answer.code == 1
    assert answer.error


def test_folder_as_a_store_is_refused(trainer: Trainer, workdir: Path) -> None:
    """Folder as a store is refused with the remedy."""
    answer = trainer("--tracking-uri", "./mlruns")
    assert answer.code == 1
    assert "sqlite:///mlflow.db" in answer.error


def test_password_in_the_uri_is_not_shown(trainer: Trainer, workdir: Path) -> None:
    answer = trainer("--tracking-uri", f"http://me:hush@127.0.0.1:{free_port()}", "--wait", "0")
    assert answer.code == 1
    assert "hush" not in answer.err


def test_server_that_comes_up_late_is_waited_for(proxy: Proxy, experiment: str) -> None:
    proxy.fault = lambda _method, _path, count: "hang up" if count < 2 else None
    connect(proxy.url, experiment, wait=20)
    assert proxy.count("GET", "get-by-name") >= 3


@pytest.mark.parametrize(
    ("status", "words"), [(401, ["refuses", "401", "MLFLOW_TRACKING_USERNAME"]), (403, ["refuses", "403"]), (404, [])]
)
def test_refusal_is_reported_at_once(proxy: Proxy, experiment: str, status: int, words: list[str]) -> None:
    proxy.fault = lambda _method, _path, _count: status
    with pytest.raises(TrackingError) as refused:
        connect(proxy.url, experiment, wait=60)
    assert len(proxy.seen) == 1
    for word in [proxy.url, *words]:
        assert word in str(refused.value)


def test_refused_host_name_names_the_remedy(proxy: Proxy, experiment: str) -> None:
    """Refused host name is reported at once with the remedy."""
    proxy.host = "mlflow.example.com:5000"
    with pytest.raises(TrackingError, match=r"refuses: 403 Invalid Host header.*MLFLOW_SERVER_ALLOWED_HOSTS"):
        connect(proxy.url, experiment, wait=60)
    assert len(proxy.seen) == 1


def test_server_that_keeps_failing_is_given_up_on(proxy: Proxy, experiment: str) -> None:
    proxy.fault = lambda _method, _path, _count: 503
    with pytest.raises(TrackingError, match=r"server errors; the server's log"):
        connect(proxy.url, experiment, wait=0.5)


# Lost replies ---------------------------------------------------------------------------------------------------------


CREATIONS = ("/runs/create", "/logged-models")
OTHERS = ("/runs/outputs", "/runs/log-inputs", "/runs/log-batch", "/runs/update", "/experiments/create")


@pytest.mark.parametrize(
    ("part", "fault"),
    [
        *((part, "drop reply") for part in CREATIONS + OTHERS),
        *((part, fault) for part in CREATIONS for fault in ("hang up", 503)),
    ],
)
def test_run_is_tracked_once_though_a_request_fails(
    server: str, proxy: Proxy, experiment: str, dataset: Dataset, part: str, fault: str | int
) -> None:
    proxy.fault = lambda method, path, count: fault if method == "POST" and path.endswith(part) and not count else None
    result = train(proxy.url, experiment, dataset)
    assert proxy.count("POST", part) >= 1
    (tracked,) = all_runs(server, experiment)
    (model,) = all_models(server, experiment)
    assert tracked.info.status == "FINISHED"
    assert tracked.info.run_id == result.run_id
    assert str(model.status) == "READY"
    assert [output.model_id for output in tracked.outputs.model_outputs] == [model.model_id]
    assert len(tracked.inputs.dataset_inputs) == 2


def test_every_request_may_fail_once(server: str, proxy: Proxy, experiment: str, dataset: Dataset) -> None:
    proxy.fault = lambda _method, _path, count: "drop reply" if not count else None
    result = train(proxy.url, experiment, dataset)
    (tracked,) = all_runs(server, experiment)
    assert tracked.info.status == "FINISHED"
    assert len(all_models(server, experiment)) == 1
    history = MlflowClient(server).get_metric_history(str(result.run_id), "validation_log_loss")
    assert [point.step for point in history] == list(range(1, 9))


@pytest.mark.parametrize("part", ["/runs/create", "/runs/log-batch"])
def test_interrupt_in_a_request_ends_the_run(
    server: str, proxy: Proxy, experiment: str, dataset: Dataset, part: str
) -> None:
    """Interrupt during a request leaves no run running."""
    # Ctrl-C after the server has acted and before it has answered.
    proxy.fault = lambda _method, path, count: "interrupt" if path.endswith(part) and not count else None
    with pytest.raises(KeyboardInterrupt):
        train(proxy.url, experiment, dataset)
    assert [tracked.info.status for tracked in all_runs(server, experiment)] == ["KILLED"]


def test_failed_upload_marks_the_run_failed(server: str, proxy: Proxy, experiment: str, dataset: Dataset) -> None:
    proxy.fault = lambda method, path, _count: 507 if method == "PUT" and "model.skops" in path else None
    with pytest.raises(TrackingError):
        train(proxy.url, experiment, dataset)
    (tracked,) = all_runs(server, experiment)
    (model,) = all_models(server, experiment)
    assert tracked.info.status == "FAILED"
    assert "507" in tracked.data.tags["failure_reason"]
    assert str(model.status) == "FAILED"


def test_server_gone_for_good_is_said_so(proxy: Proxy, experiment: str, dataset: Dataset) -> None:
    gone = False

    def fault(_method: str, path: str, _count: int) -> str | None:
        nonlocal gone
        gone = gone or "log-inputs" in path
        return "hang up" if gone else None

    proxy.fault = fault
    with pytest.raises(TrackingError, match=r"no longer answers: run [0-9a-f]{32} could not be ended"):
        train(proxy.url, experiment, dataset)


def test_request_to_a_file_is_not_cut_short(destination: Destination) -> None:
    """A signal takes effect after it. An open transaction would lock the file for the request that ends the run."""
    tracking = destination.open()

    def interrupt(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if statement.startswith("INSERT INTO params"):
            os.kill(os.getpid(), signal.SIGTERM)

    def log() -> None:
        with interruptible(), tracking.run("run", {}, key="key") as run:
            run.log(params={"colour": "blue"})

    event.listen(Engine, "before_cursor_execute", interrupt)
    try:
        with pytest.raises(KeyboardInterrupt):
            log()
    finally:
        event.remove(Engine, "before_cursor_execute", interrupt)
    stored = tracking.client.get_run(str(tracking.find("key")))
    assert (stored.info.status, stored.data.params) == ("KILLED", {"colour": "blue"})
