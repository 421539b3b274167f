"""trainer verify: every check fails on a server that does otherwise; what was made is removed, whatever happens.

The servers are real ones. Where no setting makes them deviate, a proxy in front changes one kind of answer.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from trainer.tracking.connection import wait_for_server
from trainer.tracking.settings import limits
from trainer.verification import verify
from trainer.verification.checks import CHECKS
from trainer.verification.checks.server import MLFLOW
from trainer.verification.stack import Stack
from trainer.verification.verify import DIFFERENT, FAILED, REMARK, SAME, SKIPPED, Finding

from ..conftest import Answer, Proxy, free_port, serving

Trainer = Callable[..., Answer]
BY_NAME = {check.name: check for check in CHECKS}
RUN, PROXIED = "run, parameters, metrics, tags", "artifacts are proxied"


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "0")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_BACKOFF_JITTER", "0")


@pytest.fixture
def stack(proxy: Proxy, tmp_path: Path) -> Iterator[Stack]:
    """Returns a stack behind the proxy, at which no check has been made yet."""
    stack = Stack(proxy.url, wait_for_server(proxy.url, 5), tmp_path, large=1)
    with limits(retries=0):
        yield stack
    proxy.fault = lambda _method, _path, _count: None
    verify._remove(stack, verify.Report())


def prepare(name: str, stack: Stack) -> list[Finding]:
    """Makes the checks that another one needs, and those that they need."""
    found: list[Finding] = []
    for need in BY_NAME[name].needs:
        found += [one for one in prepare(need, stack) if one.check not in {old.check for old in found}]
        if need not in {old.check for old in found}:
            found.append(verify._make(BY_NAME[need], stack, found))
    return found


def left_of(server: str) -> tuple[list[str], list[str]]:
    """Returns the experiments and registered models of this command that a server still shows."""
    client = MlflowClient(server, server)
    names = [one.name for one in client.search_experiments()], [one.name for one in client.search_registered_models()]
    experiments, models = ([name for name in some if name.startswith("trainer-verify-")] for some in names)
    return experiments, models


# Deviations -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "method", "part", "answer", "outcome", "words"),
    [
        ("server version", "GET", "/version", b"2.22.0", DIFFERENT, "MLflow 2.22.0, and the replica runs"),
        ("server version", "GET", "/version", 404, DIFFERENT, "404"),
        ("backend store", "GET", "/server-info", b'{"store_type": "FileStore"}', DIFFERENT, "FileStore"),
        (RUN, "POST", "/runs/log-batch", b"{}", DIFFERENT, "parameters come back changed: num_leaves"),
        (RUN, "POST", "/runs/update", b"{}", DIFFERENT, "the run is RUNNING"),
        (RUN, "POST", "/runs/search", b"{}", DIFFERENT, "a search does not find the run"),
        (RUN, "POST", "/experiments/create", 403, FAILED, "403"),
        ("metric history", "GET", "/get-history", b"{}", DIFFERENT, "0 come back"),
        ("small artifacts", "GET", "/small.txt", b"hello!", DIFFERENT, "6 bytes went up and 6 other ones came back"),
        ("large artifact", "GET", "/large.bin", b"", DIFFERENT, "0 other ones came back"),
        ("large artifact", "PUT", "/large.bin", 413, FAILED, "413"),
        ("artifact listing", "GET", "/artifacts", b'{"files": []}', DIFFERENT, "are listed as []"),
        ("missing artifact", "GET", "/nothing/here", 500, REMARK, "500 and not 404: clients try that again"),
        ("missing artifact", "GET", "/nothing/here", 403, DIFFERENT, "403 and not 404"),
        ("overwriting an artifact", "PUT", "/overwritten.txt", 500, DIFFERENT, "the first upload"),
        ("overwriting an artifact", "GET", "/overwritten.txt", b"x", DIFFERENT, "200, and then it holds neither"),
        ("signed addresses", "GET", "/presigned/", b"{}", REMARK, "offered for downloads"),
        ("signed addresses", "GET", "/server-info", b'{"multipart_uploads_enabled": true}', REMARK, "uploads"),
        ("model", "PUT", "/models/", 400, FAILED, "400"),
        ("registry", "GET", "/registered-models/alias", 404, FAILED, "404"),
        ("foreign Origin header", "POST", "/experiments/search", b"{}", DIFFERENT, "200 and not refused with 403"),
        ("telemetry", "GET", "/ui-telemetry", b'{"disable_ui_telemetry": false}', DIFFERENT, "reports"),
    ],
)
def test_check_finds_the_deviation(
    name: str,
    method: str,
    part: str,
    answer: bytes | int,
    outcome: str,
    words: str,
    stack: Stack,
    proxy: Proxy,
) -> None:
    before = prepare(name, stack)
    assert [one for one in before if not one.same] == []
    proxy.fault = lambda its, path, _count: answer if its == method and part in path else None
    found = verify._make(BY_NAME[name], stack, before)
    assert (found.outcome, words in found.detail) == (outcome, True), found
    if name not in (RUN, "model", "registry", "overwriting an artifact"):
        # And is content when the server behaves: these make nothing that is there already.
        proxy.fault = lambda _method, _path, _count: None
        assert verify._make(BY_NAME[name], stack, before).same


def test_refused_and_lost_overwriting_are_found(stack: Stack, proxy: Proxy) -> None:
    """Refused repetition and a lost overwriting are found."""
    before = prepare("overwriting an artifact", stack)
    proxy.fault = lambda method, path, count: 409 if method == "PUT" and "overwritten" in path and count == 1 else None
    found = verify._make(BY_NAME["overwriting an artifact"], stack, before)
    assert (found.outcome, found.detail) == (DIFFERENT, "the repeated upload of a file is answered with 409")
    proxy.seen.clear()
    proxy.fault = lambda method, path, count: 400 if method == "PUT" and "overwritten" in path and count == 2 else None
    found = verify._make(BY_NAME["overwriting an artifact"], stack, before)
    assert found.outcome == SAME
    assert found.detail == "is refused with 400, as in the replica with ARTIFACT_OVERWRITE=refuse"
    proxy.seen.clear()
    proxy.fault = lambda method, path, count: 500 if method == "PUT" and "overwritten" in path and count == 2 else None
    found = verify._make(BY_NAME["overwriting an artifact"], stack, before)
    assert (found.outcome, found.detail) == (REMARK, "is answered with 500, and then it holds the old content")


@pytest.mark.parametrize(
    ("workspaces", "outcome"),
    [
        ((403, b'{"message": "This server has no workspaces: MLflow\'s routes for that are refused"}'), DIFFERENT),
        ((403, b'{"message": "mia has the role member, and this takes admin"}'), DIFFERENT),
        ((403, b'{"message": "Permission denied"}'), REMARK),
        (None, REMARK),
    ],
)
def test_only_the_replicas_server_has_to_be_stricter(
    workspaces: tuple[int, bytes] | None, outcome: str, stack: Stack, proxy: Proxy
) -> None:
    before = prepare("missing artifact", stack)

    def fault(_method: str, path: str, _count: int) -> int | tuple[int, bytes] | None:
        return 500 if path.endswith("/nothing/here") else workspaces if path.endswith("/workspaces") else None

    proxy.fault = fault
    vars(stack).pop("has_replica_server", None)
    found = verify._make(BY_NAME["missing artifact"], stack, before)
    assert found.outcome == outcome
    whose = "the replica's" if outcome == DIFFERENT else "MLflow's own"
    assert verify._make(BY_NAME["server version"], stack, []).detail.endswith(f"; the server is {whose}")


def test_alias_that_leads_elsewhere_is_found(stack: Stack, proxy: Proxy) -> None:
    before = prepare("registry", stack)
    body = b'{"model_version": {"name": "x", "version": "7", "run_id": "other"}}'
    proxy.fault = lambda method, path, _count: body if method == "GET" and path.endswith("/alias") else None
    found = verify._make(BY_NAME["registry"], stack, before)
    assert (found.outcome, found.detail) == (DIFFERENT, "the alias leads to version 7 of run other")


def test_plain_server_passes_with_one_remark(server: str, trainer: Trainer) -> None:
    answer = trainer("verify", "--tracking-uri", server, "--large-mib", "1", "--json")
    assert (answer.code, answer.json["conforms"]) == (0, True)
    found = {one["check"]: one for one in answer.json["checks"]}
    assert list(found) == [*BY_NAME, verify.REMOVAL]
    assert [name for name, one in found.items() if one["outcome"] != SAME] == ["deleting an artifact"]
    assert found["deleting an artifact"]["outcome"] == REMARK
    assert "every client can destroy artifacts" in found["deleting an artifact"]["detail"]
    # This one may delete: no file is left, and only the rows are named.
    assert [line.split(" (")[0] for line in answer.json["left"]] == [f"rows of experiment {answer.json['experiment']}"]
    assert left_of(server) == ([], [])


@pytest.mark.process
def test_server_without_proxy_and_host_check(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest, trainer: Trainer
) -> None:
    """Server without proxied artifacts and host check."""
    folder = tmp_path_factory.mktemp("open")
    settings = {
        "_MLFLOW_SERVER_SERVE_ARTIFACTS": "false",
        "_MLFLOW_SERVER_ARTIFACT_ROOT": str(folder / "root"),
        "MLFLOW_SERVER_DISABLE_SECURITY_MIDDLEWARE": "true",
    }
    with serving(folder, request.getfixturevalue("_template"), **settings) as url:
        answer = trainer("verify", "--tracking-uri", url, "--large-mib", "1")
        assert answer.code == 1
        lines = {line.split("  ")[0]: line for line in answer.out.splitlines()}
        for name in (PROXIED, "foreign Host header", "foreign Origin header"):
            assert f" {DIFFERENT} " in lines[name], lines[name]
        assert f"clients are sent to {folder}" in lines[PROXIED]
        for name in ("large artifact", "model", "registry"):
            assert f" {SKIPPED} " in lines[name], lines[name]
        for name in (RUN, "metric history", verify.REMOVAL):
            assert f" {SAME} " in lines[name], lines[name]
        assert left_of(url) == ([], [])
    # A client that is sent to a disk does not write there.
    assert not (folder / "root").exists()


# Ends -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("at", ["/experiments/create", "/large.bin", "/registered-models/create"])
def test_interruption_removes_what_was_made(at: str, proxy: Proxy, server: str, trainer: Trainer) -> None:
    proxy.fault = lambda _method, path, count: "interrupt" if at in path and count == 0 else None
    answer = trainer("verify", "--tracking-uri", proxy.url, "--large-mib", "1")
    assert (answer.code, answer.error) == (130, "interrupted")
    assert f"rows of experiment {'trainer-verify-'}" in answer.out
    assert left_of(server) == ([], [])


def test_lost_server_is_reported_with_leftovers(proxy: Proxy, server: str, trainer: Trainer) -> None:
    """Server that goes away is reported with what is left."""
    proxy.fault = lambda _method, _path, _count: (
        "hang up" if any("get-history" in path for _, path in proxy.seen) else None
    )
    answer = trainer("verify", "--tracking-uri", proxy.url, "--large-mib", "1", "--json")
    assert answer.code == 1
    outcomes = {one["check"]: one["outcome"] for one in answer.json["checks"]}
    assert (outcomes[RUN], outcomes["telemetry"], outcomes[verify.REMOVAL]) == (SAME, FAILED, FAILED)
    assert any(line.startswith(f"experiment {answer.json['experiment']}: ") for line in answer.json["left"])
    client = MlflowClient(server)
    (name,) = left_of(server)[0]
    found = client.get_experiment_by_name(name)
    assert found is not None
    client.delete_experiment(found.experiment_id)


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ([], "Missing option '--tracking-uri'"),
        (["--tracking-uri", "sqlite:///mlflow.db"], "no tracking server's address"),
        (["--tracking-uri", "http://user:secret@"], "no tracking server's address"),
        (["--tracking-uri", f"http://127.0.0.1:{free_port()}", "--wait", "0"], "connection refused"),
        (["--tracking-uri", "http://nowhere.invalid", "--wait", "0"], "the host name is not known"),
        (["--tracking-uri", "http://localhost", "--large-mib", "0"], "--large-mib"),
    ],
)
def test_unusable_address_is_one_line_and_exit_code_2(
    args: list[str], words: str, workdir: Path, trainer: Trainer
) -> None:
    answer = trainer("verify", *args)
    assert (answer.code, words in answer.error, "secret" in answer.error) == (2, True, False), answer.error
    assert answer.out == ""


def test_refusing_server_is_exit_code_2(proxy: Proxy, trainer: Trainer) -> None:
    """Server that refuses the client is exit code 2."""
    proxy.host = "foreign.example.org"
    answer = trainer("verify", "--tracking-uri", proxy.url)
    assert (answer.code, "Invalid Host header" in answer.error) == (2, True)


def test_bucket_credentials_are_out_of_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bucket credentials are out of reach and come back."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIA")
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "/key.json")
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "kept")
    before = dict(os.environ)
    with verify.no_bucket_credentials():
        assert "AWS_ACCESS_KEY_ID" not in os.environ
        assert "GOOGLE_APPLICATION_CREDENTIALS" not in os.environ
        assert os.environ["AWS_SHARED_CREDENTIALS_FILE"] == os.devnull
        assert os.environ["MLFLOW_TRACKING_USERNAME"] == "kept"
    assert dict(os.environ) == before


def test_expected_version_is_the_servers_own_pin() -> None:
    root = Path(__file__).parents[4]
    pins = (root / "services" / "mlflow" / "requirements.in").read_text().split()
    assert f"mlflow=={MLFLOW}" in pins


def test_removal_touches_only_its_own_files(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(stack, "ask", lambda *args, **_kwargs: asked.append(args))
    verify._remove_files(stack, "mlflow-artifacts:/1/abc/artifacts", "abc")
    verify._remove_files(stack, "mlflow-artifacts:/", "abc")
    verify._remove_files(stack, "mlflow-artifacts:/1/abcdef/artifacts", "abc")
    assert asked == [("DELETE", "/api/2.0/mlflow-artifacts/artifacts/1/abc/artifacts")]


def test_empty_report_does_not_conform() -> None:
    """Report conforms only where something was checked."""
    assert not verify.Report().conforms
    assert verify.Report(findings=[Finding("a", SAME, ""), Finding("b", REMARK, "")]).conforms
    assert not verify.Report(findings=[Finding("a", SAME, ""), Finding("b", SKIPPED, "")]).conforms


def test_removal_where_nothing_was_made_is_no_problem(stack: Stack) -> None:
    report = verify.Report()
    assert verify._remove(stack, report).outcome == SAME
    assert report.left == []
