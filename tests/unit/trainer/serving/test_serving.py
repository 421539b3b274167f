"""Serving: answers as the model's own, errors that say what is wrong, and promotions that lose no request."""

from __future__ import annotations

import contextlib
import csv
import http.client
import io
import json
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
import pytest
import uvicorn
import yaml
from mlflow import MlflowClient
from trainer.config.variant import make_variant
from trainer.data.dataset import Dataset
from trainer.data.sources import load_data
from trainer.serving import healthcheck
from trainer.serving.application import Bounds, Serving
from trainer.serving.champion import Champion, ModelError, load
from trainer.training.fit import fit_variant
from trainer.training.model import save_model

from ..conftest import Answer, free_port

NAME = "purchase_predict"
JSON = {"Content-Type": "application/json"}
BOUNDS = Bounds(body=50_000, concurrency=2)


@pytest.fixture(scope="session")
def broken(saved: Path) -> Path:
    """Return the folder of a model that cannot be loaded."""
    folder = saved.parent / "broken"
    shutil.copytree(saved, folder)
    next(folder.glob("*.skops")).write_bytes(b"half of it")
    return folder


@pytest.fixture
def registry(workdir: Path, saved: Path, broken: Path) -> MlflowClient:
    """Return a registry whose versions 1 and 2 are good, and 3 is broken."""
    client = MlflowClient(uri := f"sqlite:///{workdir}/mlflow.db", uri)
    client.create_registered_model(NAME)
    for folder in (saved, saved, broken):
        client.create_model_version(NAME, folder.as_uri())
    return client


def promote(client: MlflowClient, version: int) -> None:
    client.set_registered_model_alias(NAME, "champion", str(version))


@dataclass
class Server:
    """A server that is running in a thread."""

    port: int
    warnings: list[str]

    def ask(
        self, body: bytes | str = b"", headers: dict[str, str] | None = None, path: str = "/invocations"
    ) -> tuple[int, Any, str | None]:
        """Return a request's status, content, and which model answered."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        with contextlib.closing(connection):
            connection.request("POST" if path == "/invocations" else "GET", path, body or None, headers or {})
            reply = connection.getresponse()
            content = reply.read()
        return reply.status, json.loads(content.strip() or b"null"), reply.getheader("x-model-uri")

    def wait_for(self, condition: Callable[[], bool]) -> None:
        """Poll until the condition holds."""
        deadline = time.monotonic() + 30
        while not condition():
            assert time.monotonic() < deadline, self.warnings
            time.sleep(0.02)

    def serves(self, version: int) -> bool:
        """Tell whether this version answers."""
        return self.ask(path="/ping")[2] == f"models:/{NAME}/{version}"


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    """Return a function that serves a URI, on a port that the system chooses."""
    with contextlib.ExitStack() as running:

        def start(uri: str = f"models:/{NAME}@champion", bounds: Bounds = BOUNDS) -> Server:
            warnings: list[str] = []
            champion = Champion(uri, f"sqlite:///{Path.cwd()}/mlflow.db", warnings.append)
            if not champion.followed:
                champion.require()
            port = free_port()
            config = uvicorn.Config(
                Serving(champion, 0.05, bounds), host="127.0.0.1", port=port, log_level="error", lifespan="on"
            )
            server = uvicorn.Server(config)
            thread = threading.Thread(target=server.run, daemon=True)
            thread.start()

            def stop() -> None:
                server.should_exit = True
                thread.join(20)

            running.callback(stop)
            started = Server(port, warnings)
            started.wait_for(lambda: server.started)
            return started

        yield start


@pytest.fixture
def served(serve: Callable[..., Server], saved: Path) -> Server:
    """Return a server of the small model."""
    server = serve(str(saved))
    server.wait_for(lambda: server.ask(path="/ping")[0] == 200)
    return server


@pytest.fixture
def rows(dataset: Dataset) -> list[dict[str, Any]]:
    """Return sessions as a JSON client writes them: whole numbers without a point, gaps as null."""
    content: list[dict[str, Any]] = json.loads(dataset.test.features.head(40).to_json(orient="records"))
    return [
        {name: int(value) if isinstance(value, float) and value.is_integer() else value for name, value in row.items()}
        for row in content
    ]


def as_csv(rows: list[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def test_answers_are_the_models_own(served: Server, saved: Path, rows: list[dict[str, Any]], dataset: Dataset) -> None:
    expected = mlflow.pyfunc.load_model(str(saved)).predict(dataset.test.features.head(40)).tolist()
    assert set(expected) == {0, 1}
    split = {"columns": list(rows[0]), "data": [list(row.values()) for row in rows]}
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    for body in ({"dataframe_records": rows}, {"dataframe_split": split}, {"inputs": columns}):
        assert served.ask(json.dumps(body), JSON)[:2] == (200, {"predictions": expected}), list(body)
    assert served.ask(as_csv(rows), {"Content-Type": "text/csv"})[:2] == (200, {"predictions": expected})


@pytest.mark.parametrize("columns", [["month", "weekend"], {"month": ["text"]}], ids=["list", "other mapping"])
def test_model_of_others_notes_is_served(
    columns: Any, serve: Callable[..., Server], saved: Path, rows: list[dict[str, Any]], tmp_path: Path
) -> None:
    """Model whose notes are not the trainer's is served too."""
    folder = Path(shutil.copytree(saved, tmp_path / "foreign"))
    described = yaml.safe_load((folder / "MLmodel").read_text())
    described["metadata"]["columns"] = columns
    (folder / "MLmodel").write_text(yaml.safe_dump(described))
    server = serve(str(folder))
    server.wait_for(lambda: server.ask(path="/ping")[0] == 200)
    status, content, _ = server.ask(json.dumps({"dataframe_records": rows}), JSON)
    assert (status, len(content["predictions"])) == (200, 40), content


def test_missing_boolean_is_a_gap(served: Server, saved: Path, rows: list[dict[str, Any]]) -> None:
    # MLflow's own reading would make it true.
    row = {**rows[0], "weekend": None}
    status, content, _ = served.ask(json.dumps({"dataframe_records": [row, rows[1]]}), JSON)
    assert (status, len(content["predictions"])) == (200, 2), content


def test_unknown_texts_are_told_of_once(served: Server, saved: Path, rows: list[dict[str, Any]]) -> None:
    """The log says in one line which texts the model does not know, however many requests bring them."""
    body = json.dumps({"dataframe_records": [{**row, "month": "Brumaire"} for row in rows]})
    for _ in range(3):
        assert served.ask(body, JSON)[0] == 200
    served.wait_for(lambda: any("does not know" in line for line in served.warnings))
    (line,) = [line for line in served.warnings if "does not know" in line]
    assert line.startswith(f"{saved}: of 40 rows, ")
    assert "month in 40, such as 'Brumaire'" in line


@pytest.mark.parametrize("written", [str.upper, str.title, str.swapcase])
def test_booleans_are_read_as_in_training(
    served: Server, rows: list[dict[str, Any]], written: Callable[[str], str]
) -> None:
    spelt = [{**row, "weekend": written(str(row["weekend"]))} for row in rows]
    expected = served.ask(json.dumps({"dataframe_records": rows}), JSON)[:2]
    assert served.ask(json.dumps({"dataframe_records": spelt}), JSON)[:2] == expected
    assert served.ask(as_csv(spelt), {"Content-Type": "text/csv"})[:2] == expected


@pytest.mark.parametrize(
    ("column", "value", "says"),
    [
        ("page_value", "much", "column 'page_value' holds 'much'; the model takes numbers"),
        ("page_value", [1], "column 'page_value' holds [1]"),
        ("weekend", "perhaps", "column 'weekend' holds 'perhaps'; the model takes true or false"),
        ("weekend", 1, "column 'weekend' holds 1; the model takes true or false"),
        ("month", ["Nov"], "column 'month' holds ['Nov']; the model takes text"),
        ("month", {"is": "Nov"}, "column 'month' holds {'is': 'Nov'}; the model takes text"),
        ("month", ..., "Model is missing inputs ['month']"),
    ],
)
def test_wrong_column_is_named(served: Server, rows: list[dict[str, Any]], column: str, value: Any, says: str) -> None:
    row = {name: (value if name == column else kept) for name, kept in rows[0].items()}
    if value is ...:
        del row[column]
    status, content, _ = served.ask(json.dumps({"dataframe_records": [row]}), JSON)
    assert status == 400
    assert says in content["message"]
    assert set(content) == {"error_code", "message"}


@pytest.mark.parametrize(
    ("body", "headers", "status", "says"),
    [
        (b"{half", JSON, 400, "JSON"),
        (b"[]", JSON, 400, "dataframe_records"),
        (b"{}", JSON, 400, "dataframe_records"),
        (b'{"dataframe_records": []}', JSON, 400, "missing inputs"),
        (b"\xff\xfe", {"Content-Type": "text/csv"}, 400, "UTF-8"),
        ("a,b\n1,2,3\n".encode("utf-16"), {"Content-Type": "text/csv"}, 400, "UTF-8"),
        (b"<x/>", {"Content-Type": "text/xml"}, 415, "text/csv"),
        (b"{}", {}, 415, "no Content-Type"),
        (b" " * 50_001, JSON, 413, "50,000 bytes"),
    ],
)
def test_malformed_request_is_told_what_is_wrong(
    served: Server, rows: list[dict[str, Any]], body: bytes, headers: dict[str, str], status: int, says: str
) -> None:
    answer = served.ask(body, headers)
    assert answer[0] == status, answer
    assert says in answer[1]["message"]
    assert "Traceback" not in json.dumps(answer[1])
    assert served.ask(json.dumps({"dataframe_records": rows}), JSON)[0] == 200


@pytest.mark.parametrize("more", ["7,{}", "{},"])
def test_too_long_csv_row_is_refused(served: Server, rows: list[dict[str, Any]], more: str) -> None:
    """CSV row of more fields than the header is refused."""
    header, *lines = as_csv(rows).splitlines()
    body = "\n".join([header, "", *map(more.format, lines)])
    status, content, _ = served.ask(body, {"Content-Type": "text/csv; charset=utf-8"})
    assert (status, content["message"].partition(";")[0]) == (
        400,
        f"row 1 has {len(rows[0]) + 1} fields, the header {len(rows[0])}",
    )


def test_too_short_csv_row_is_refused(served: Server, rows: list[dict[str, Any]]) -> None:
    """CSV row of fewer fields than the header is refused."""
    header, *lines = as_csv(rows).splitlines()
    body = "\n".join([header, *lines[:2], "7,8", *lines[2:]])
    status, content, _ = served.ask(body, {"Content-Type": "text/csv"})
    assert status == 400
    assert content["message"] == f"row 3 has 2 fields, the header {len(rows[0])}; complete it, or remove it"


@pytest.mark.parametrize("kind", ["application/json", "text/csv"])
def test_other_encoding_is_refused(served: Server, kind: str) -> None:
    """Text in another encoding is refused and not repeated."""
    status, content, _ = served.ask(b'{"instances": "\xfc' + b"x" * 9_000, {"Content-Type": kind})
    assert (status, content["message"]) == (400, "the request is not UTF-8 text (byte 15)")


@pytest.mark.parametrize("form", ["dataframe_records", "instances", "inputs"])
def test_gap_in_a_boolean_is_one_in_every_form(
    served: Server, dataset: Dataset, rows: list[dict[str, Any]], form: str
) -> None:
    gap = dataset.columns("boolean")[0]
    sent = [{**row, gap: None} if number % 2 else row for number, row in enumerate(rows)]
    body: Any = {name: [row[name] for row in sent] for name in sent[0]} if form == "inputs" else sent
    expected = served.ask(as_csv(sent), {"Content-Type": "text/csv"})
    assert served.ask(json.dumps({form: body}), JSON) == expected
    assert expected[0] == 200


@pytest.mark.parametrize("form", ["dataframe_records", "dataframe_split", "instances", "inputs"])
def test_codes_may_be_sent_as_numbers(serve: Callable[..., Server], tmp_path: Path, form: str) -> None:
    codes = [*map(str, range(6)), "x", ""]
    lines = [f"{codes[row % 8]},{row % 7},{int(row % 8 in (2, 5))}" for row in range(400)]
    (tmp_path / "t.csv").write_text("\n".join(["code,n,y", *lines]))
    codes_data = load_data(tmp_path / "t.csv", target="y")
    assert codes_data.column_types["code"] == "text"
    fitted = fit_variant(make_variant({"n_estimators": 20}).params, codes_data, seed=1, validation_size=0.2)
    save_model(fitted.model, codes_data, tmp_path / "model", run_id="0" * 32, model_id="m-0", location=str(tmp_path))
    server = serve(str(tmp_path / "model"))
    server.wait_for(lambda: server.ask(path="/ping")[0] == 200)
    # With a gap among them, pandas makes decimals of whole numbers.
    for column, expected in (([2, 3, 5], [1, 0, 1]), ([2, None, 5], [1, 0, 1]), ([2.0, 3.0, 5.0], [1, 0, 1])):
        rows = [{"code": code, "n": 1} for code in column]
        body: Any = rows
        if form == "dataframe_split":
            body = {"columns": ["code", "n"], "data": [list(row.values()) for row in rows]}
        elif form == "inputs":
            body = {"code": column, "n": [1, 1, 1]}
        status, content, _ = server.ask(json.dumps({form: body}), JSON)
        assert (status, content) == (200, {"predictions": expected})


def test_csv_without_rows_is_told_so(served: Server, rows: list[dict[str, Any]]) -> None:
    status, content, _ = served.ask(as_csv(rows).splitlines()[0], {"Content-Type": "text/csv"})
    assert (status, content["message"]) == (400, "the request holds no rows")


def test_large_request_without_a_length_is_refused(served: Server) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=30)
    with contextlib.closing(connection):
        connection.request("POST", "/invocations", iter([b" " * 30_000] * 2), JSON, encode_chunked=True)
        assert connection.getresponse().status == 413


def test_request_that_takes_too_long_is_ended(
    serve: Callable[..., Server], saved: Path, rows: list[dict[str, Any]]
) -> None:
    server = serve(str(saved), Bounds(seconds=0.0001))
    server.wait_for(lambda: server.ask(path="/ping")[0] == 200)
    status, content, _ = server.ask(json.dumps({"dataframe_records": rows}), JSON)
    assert status == 504
    assert "no answer within 0.0001 s" in content["message"]


def test_stopped_client_keeps_nobody_waiting(serve: Callable[..., Server], saved: Path) -> None:
    """Client that stops half way keeps no other waiting."""
    server = serve(str(saved), Bounds(concurrency=1, seconds=0.5))
    server.wait_for(lambda: server.ask(path="/ping")[0] == 200)
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    with contextlib.closing(connection):
        connection.putrequest("POST", "/invocations")
        for name, value in {**JSON, "Content-Length": "100"}.items():
            connection.putheader(name, value)
        connection.endheaders(b"half")
        assert connection.getresponse().status == 504
        assert server.ask(b"{}", JSON)[0] == 400


def test_other_addresses_are_named(served: Server) -> None:
    status, content, _ = served.ask(path="/predict")
    assert status == 404
    assert "POST /invocations" in content["message"]


def test_unavailable_until_one_is_promoted(registry: MlflowClient, serve: Callable[..., Server]) -> None:
    """No model yet is unavailable until one is promoted."""
    server = serve()
    status, content, _ = server.ask(b"{}", JSON)
    assert status == 503
    assert "no model to serve yet" in content["message"]
    server.wait_for(
        lambda: server.warnings == [f"no version of {NAME} has the alias champion; trainer promote gives it"]
    )
    promote(registry, 1)
    server.wait_for(lambda: server.serves(1))


def test_promotion_under_load_loses_no_request(
    registry: MlflowClient, serve: Callable[..., Server], rows: list[dict[str, Any]]
) -> None:
    promote(registry, 1)
    server = serve()
    server.wait_for(lambda: server.serves(1))
    body, done = json.dumps({"dataframe_records": rows}), threading.Event()

    def ask() -> list[tuple[int, str | None]]:
        answers = []
        while not done.is_set():
            status, _, uri = server.ask(body, JSON)
            answers.append((status, uri))
        return answers

    with ThreadPoolExecutor(4) as pool:
        clients = [pool.submit(ask) for _ in range(4)]
        try:
            for version in (2, 1, 2):
                promote(registry, version)
                server.wait_for(lambda version=version: server.serves(version))  # type: ignore[misc]
        finally:
            done.set()
        answers = [answer for client in clients for answer in client.result()]
    assert {status for status, _ in answers} == {200}
    assert {uri for _, uri in answers} == {f"models:/{NAME}/1", f"models:/{NAME}/2"}


@pytest.mark.parametrize("foreign", [False, True], ids=["own", "foreign"])
def test_replaced_model_leaves_nothing_behind(
    registry: MlflowClient,
    serve: Callable[..., Server],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    foreign: bool,
    saved: Path,
) -> None:
    """The files of a foreign model lie on the disk for as long as it is in memory; one of the trainer's needs none."""
    if foreign:
        folder = Path(shutil.copytree(saved, tmp_path / "foreign"))
        described = yaml.safe_load((folder / "MLmodel").read_text())
        described["metadata"] = None
        (folder / "MLmodel").write_text(yaml.safe_dump(described))
        registry.create_model_version(NAME, folder.as_uri())
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    promote(registry, 1)
    server = serve()
    for version in (1, 2, 4, 1, 4) if foreign else (1, 2, 1):
        promote(registry, version)
        server.wait_for(lambda version=version: server.serves(version))  # type: ignore[misc]
    server.wait_for(lambda: len(list(tmp_path.glob("trainer-model-*"))) == int(foreign))


def test_model_that_fails_to_load_replaces_none(registry: MlflowClient, serve: Callable[..., Server]) -> None:
    promote(registry, 1)
    server = serve()
    server.wait_for(lambda: server.serves(1))
    promote(registry, 3)
    server.wait_for(lambda: len(server.warnings) > 1)
    assert f"models:/{NAME}/3 cannot be loaded" in server.warnings[1]
    assert f"models:/{NAME}/1 stays" in server.warnings[1]
    assert server.serves(1)
    promote(registry, 2)
    server.wait_for(lambda: server.serves(2))
    assert len(server.warnings) == 3


@pytest.fixture
def pickled(registry: MlflowClient, saved: Path, tmp_path: Path) -> int:
    """Return a version whose model is a pickled one."""
    folder = tmp_path / "pickled"
    model = mlflow.sklearn.load_model(str(saved))
    # Without requirements MLflow would load the model in a process of its own, to find out what that imports.
    mlflow.sklearn.save_model(model, str(folder), serialization_format="cloudpickle", pip_requirements=["scikit-learn"])
    return int(registry.create_model_version(NAME, folder.as_uri()).version)


def test_champion_that_may_run_code_replaces_none(
    registry: MlflowClient, serve: Callable[..., Server], pickled: int
) -> None:
    promote(registry, 1)
    server = serve()
    server.wait_for(lambda: server.serves(1))
    promote(registry, pickled)
    server.wait_for(lambda: len(server.warnings) > 1)
    assert f"models:/{NAME}/{pickled} is refused, because its format can run code: it is saved as" in server.warnings[1]
    assert "SERVING_FORMATS=any" in server.warnings[1]
    assert f"models:/{NAME}/1 stays" in server.warnings[1]
    assert server.serves(1)


def test_answer_says_why_no_model_is_served(registry: MlflowClient, serve: Callable[..., Server], pickled: int) -> None:
    promote(registry, pickled)
    server = serve()
    server.wait_for(lambda: len(server.warnings) == 1)
    status, content, _ = server.ask(b"{}", JSON)
    assert status == 503
    assert content["message"] == f"there is no model to serve yet: models:/{NAME}@champion: {server.warnings[0]}"
    assert "is saved as cloudpickle" in content["message"]


def test_setting_takes_models_that_may_run_code(registry: MlflowClient, pickled: int) -> None:
    promote(registry, pickled)
    champion = Champion(f"models:/{NAME}@champion", f"sqlite:///{Path.cwd()}/mlflow.db", formats="any")
    champion.check()
    assert champion.loaded is not None
    assert champion.loaded.uri == f"models:/{NAME}/{pickled}"


def test_failed_model_is_tried_again(registry: MlflowClient) -> None:
    """Model that fails to load is tried again after a while."""
    promote(registry, 3)
    now, tries = 0.0, []
    champion = Champion(f"models:/{NAME}@champion", f"sqlite:///{Path.cwd()}/mlflow.db", clock=lambda: now)
    with pytest.MonkeyPatch.context() as patch:

        def count(uri: str, *_rest: object) -> None:
            tries.append(uri)
            raise ModelError("no")

        patch.setattr("trainer.serving.champion.load", count)
        for moment in (0.0, 10.0, 59.0, 61.0, 100.0):
            now = moment
            champion.check()
    assert len(tries) == 2


def test_no_room_for_a_new_model_leaves_the_old_one(
    registry: MlflowClient, serve: Callable[..., Server], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    promote(registry, 1)
    server = serve()
    server.wait_for(lambda: server.serves(1))
    with monkeypatch.context() as patch:
        patch.setattr("tempfile.tempdir", str(tmp_path / "nowhere"))
        promote(registry, 2)
        server.wait_for(lambda: f"models:/{NAME}/1 stays" in server.warnings[-1])
    # And it goes on looking.
    promote(registry, 3)
    server.wait_for(lambda: f"models:/{NAME}/3 cannot be loaded" in server.warnings[-1])
    assert server.serves(1)


def test_silent_registry_leaves_the_model(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Registry that does not answer leaves the model."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    warnings: list[str] = []
    champion = Champion(f"models:/{NAME}@champion", f"http://127.0.0.1:{free_port()}", warnings.append)
    champion.loaded = before = load(str(saved))
    champion.check()
    champion.check()
    assert champion.loaded is before
    assert len(warnings) == 1
    assert "the registry does not answer" in warnings[0]


def test_unreachable_database_is_tried_again(workdir: Path) -> None:
    """Database that cannot be opened is told and looked at again."""
    warnings: list[str] = []
    (workdir / "folder").touch()
    champion = Champion(f"models:/{NAME}@champion", f"sqlite:///{workdir}/folder/mlflow.db", warnings.append)
    champion.check()
    assert len(warnings) == 1
    assert warnings[0].startswith(f"cannot use the tracking URI sqlite:///{workdir}/folder/mlflow.db: ")
    (workdir / "folder").unlink()
    (workdir / "folder").mkdir()
    champion.check()
    assert warnings[1:] == [f"no version of {NAME} has the alias champion; trainer promote gives it"]


def test_health_follows_the_model(
    registry: MlflowClient, serve: Callable[..., Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve()
    monkeypatch.setenv("TRAINER_PORT", str(server.port))
    with pytest.raises(SystemExit, match="503"):
        healthcheck.main()
    promote(registry, 1)
    server.wait_for(lambda: server.serves(1))
    healthcheck.main()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--model", "champion"), "neither a folder nor a model's URI"),
        (("--model", "runs:/0/model"), "cannot be loaded"),
        (("--port", "none"), "--port"),
    ],
)
def test_bad_options(workdir: Path, trainer: Callable[..., Answer], arguments: tuple[str, ...], says: str) -> None:
    answer = trainer("serve", *arguments)
    assert answer.code != 0
    assert says in answer.error


def test_port_in_use_is_one_line(served: Server, saved: Path, trainer: Callable[..., Answer]) -> None:
    answer = trainer("serve", "--model", saved, "--port", served.port)
    assert answer.code == 2
    assert "Address already in use; choose another --port" in answer.error
