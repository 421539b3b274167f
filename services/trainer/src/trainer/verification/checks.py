"""What a stack is checked for: each check says what it saw, and raises ``Difference`` where the replica does otherwise.

The checks work in an experiment and a registered model of their own. ``verify`` makes the checks, and removes those.
"""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from trainer.tracking.settings import as_default
from trainer.tracking.uris import without_credentials
from trainer.util.text import one_line
from trainer.verification.stack import MIB, PROXIED, Difference, Stack, Stricter

#: The version of MLflow that the replica's server runs.
MLFLOW = "3.17.2"


# The checks -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Check:
    """A check: its name, what it does, and the names of the checks without whose success it has no meaning."""

    name: str
    run: Callable[[Stack], str]
    needs: tuple[str, ...]


CHECKS: list[Check] = []


def check(name: str, *needs: str) -> Callable[[Callable[[Stack], str]], Callable[[Stack], str]]:
    """Add a function to the checks, which are made in the order of their definition."""

    def add(function: Callable[[Stack], str]) -> Callable[[Stack], str]:
        CHECKS.append(Check(name, function, needs))
        return function

    return add


@check("server version")
def _version(stack: Stack) -> str:
    """The version, and with it the schema of the database: a server refuses to start on another one."""
    answer = stack.ask("GET", "/version")
    found, wanted = answer.text.strip(), MLFLOW
    if answer.status_code != 200:
        raise Difference(f"GET /version is answered with {answer.status_code}")
    if found != wanted:
        raise Difference(f"MLflow {one_line(found, 40)}, and the replica runs {wanted}")
    whose = "the replica's" if stack.has_replica_server else "MLflow's own"
    return f"MLflow {found}, and so its database schema; the server is {whose}"


@check("backend store")
def _backend(stack: Stack) -> str:
    answer = stack.ask("GET", "/api/3.0/mlflow/server-info")
    if answer.status_code != 200:
        raise Difference(f"GET server-info is answered with {answer.status_code}")
    if (kind := answer.json().get("store_type")) != "SqlStore":
        raise Difference(f"{kind}, and the replica's is a SQL database")
    return "a SQL database"


@check("run, parameters, metrics, tags")
def _run(stack: Stack) -> str:
    from mlflow.entities import Metric, Param, RunTag

    client = stack.client
    stack.experiment_id = client.create_experiment(stack.name)
    stack.run_id = client.create_run(stack.experiment_id, run_name="verify").info.run_id
    params = {"num_leaves": "60", "text": "Grüße, 日本語", "long": "x" * 6_000}
    metrics = {"average_precision": 0.123456789012345, "negative": -1e-300, "large": 1e300}
    tags = {"colour": "green", "long": "y" * 8_000}
    now = time.time_ns() // 1_000_000
    client.log_batch(
        stack.run_id,
        [Metric(name, value, now, 0) for name, value in metrics.items()],
        [Param(name, value) for name, value in params.items()],
        [RunTag(name, value) for name, value in tags.items()],
        synchronous=True,
    )
    client.set_terminated(stack.run_id, "FINISHED")
    found = client.get_run(stack.run_id)
    stack.artifact_uri = found.info.artifact_uri
    for what, sent, got in (
        ("parameters", params, found.data.params),
        ("metrics", metrics, found.data.metrics),
        ("tags", tags, {name: found.data.tags.get(name) for name in tags}),
    ):
        if sent != got:
            wrong = [name for name in sent if got.get(name) != sent[name]]
            raise Difference(f"{what} come back changed: {', '.join(wrong) or 'there are more than were sent'}")
    if found.info.status != "FINISHED":
        raise Difference(f"the run is {found.info.status} after it was ended")
    filters = "params.num_leaves = '60' AND metrics.average_precision > 0.1"
    if [one.info.run_id for one in client.search_runs([stack.experiment_id], filters)] != [stack.run_id]:
        raise Difference(f"a search does not find the run: {filters}")
    return "read back and found as they were logged"


@check("metric history", "run, parameters, metrics, tags")
def _history(stack: Stack) -> str:
    from mlflow.entities import Metric

    # More than one request's worth of 1,000.
    points = [(step, 1 / step, 1_700_000_000_000 + step) for step in range(1, 1_101)]
    stack.client.log_batch(
        stack.run_id, [Metric("loss", value, stamp, step) for step, value, stamp in points], synchronous=True
    )
    found = stack.client.get_metric_history(stack.run_id, "loss")
    if (got := sorted((point.step, point.value, point.timestamp) for point in found)) != points:
        raise Difference(f"{len(points)} values were logged, and {len(got)} come back, not all the same")
    return f"{len(points):,} values with their steps and times"


@check("artifacts are proxied", "run, parameters, metrics, tags")
def _proxied(stack: Stack) -> str:
    if urlsplit(stack.artifact_uri).scheme != PROXIED:
        place = without_credentials(stack.artifact_uri)
        raise Difference(f"clients are sent to {place} themselves, and so need its credentials or its disk")
    return f"{PROXIED}:, and this client holds no bucket credential"


@check("small artifacts", "artifacts are proxied")
def _small(stack: Stack) -> str:
    files = {"small.txt": b"hello\n", "folder/with space, & ä.bin": bytes(range(256))}
    for name, content in files.items():
        stack.round_trip(name, content)
    return f"{len(files)} files, byte for byte"


@check("large artifact", "artifacts are proxied")
def _large(stack: Stack) -> str:
    content = random.Random(stack.name).randbytes(stack.large * MIB)  # noqa: S311 - no secret
    began = time.monotonic()
    stack.round_trip("folder/large.bin", content)
    return f"{stack.large} MiB, byte for byte, up and down in {time.monotonic() - began:.1f} s"


@check("artifact listing", "small artifacts", "large artifact")
def _listing(stack: Stack) -> str:
    top = {entry.path: entry.is_dir for entry in stack.client.list_artifacts(stack.run_id)}
    sizes = {entry.path: entry.file_size for entry in stack.client.list_artifacts(stack.run_id, "folder")}
    if top.get("folder") is not True or top.get("small.txt") is not False:
        raise Difference(f"the run's artifacts are listed as {sorted(top)}")
    if sizes.get("folder/large.bin") != stack.large * MIB or len(sizes) != 2:
        raise Difference(f"the folder's artifacts are listed with the sizes {sizes}")
    return "folders, names and sizes"


@check("missing artifact", "artifacts are proxied")
def _missing(stack: Stack) -> str:
    answer = stack.ask("GET", stack.artifact("nothing/here"))
    if answer.status_code >= 500:
        raise Stricter(f"is answered with {answer.status_code} and not 404: clients try that again for minutes")
    if answer.status_code != 404:
        raise Difference(f"is answered with {answer.status_code} and not 404")
    return "is answered with 404"


@check("overwriting an artifact", "artifacts are proxied")
def _overwriting(stack: Stack) -> str:
    name = "overwritten.txt"
    if (status := stack.put(name, b"first").status_code) != 200:
        raise Difference(f"the first upload of a file is answered with {status}")
    repeated = stack.put(name, b"first").status_code
    status = stack.put(name, b"second").status_code
    now = stack.ask("GET", stack.artifact(name)).content
    if repeated != 200 and now == b"first":
        raise Stricter(f"the repeated upload of the same bytes is answered with {repeated}")
    if repeated != 200:
        raise Difference(f"the repeated upload of a file is answered with {repeated}")
    if (status, now) == (200, b"second"):
        return "replaces it, as in the replica with ARTIFACT_OVERWRITE=allow, its default"
    if (status, now) == (400, b"first"):
        return "is refused with 400, as in the replica with ARTIFACT_OVERWRITE=refuse"
    holds = {b"first": "the old content", b"second": "the new content"}.get(now, "neither content")
    refused = status != 200 and now == b"first"
    raise (Stricter if refused else Difference)(f"is answered with {status}, and then it holds {holds}")


@check("deleting an artifact", "overwriting an artifact")
def _deleting(stack: Stack) -> str:
    path = stack.artifact("overwritten.txt")
    stack.ask("DELETE", path)
    # The answer itself tells nothing: with S3, MLflow passes over refusals of single objects and answers 200.
    if stack.ask("GET", path).status_code != 200:
        raise Stricter("works: every client can destroy artifacts, because the server deletes what it is asked to")
    return "leaves it where it is: the server deletes no artifact"


@check("signed addresses", "artifacts are proxied", "small artifacts")
def _signed(stack: Stack) -> str:
    info = stack.ask("GET", "/api/3.0/mlflow/server-info")
    offers = info.json() if info.status_code == 200 else {}
    offered = [way for way in ("uploads", "downloads") if offers.get(f"multipart_{way}_enabled")]
    answer = stack.ask("GET", stack.artifact("small.txt").replace("/artifacts/", "/presigned/", 1))
    if offered or answer.status_code == 200:
        ways = " and ".join(offered) or "downloads"
        raise Stricter(f"are offered for {ways}: clients are sent to the bucket, past the server")
    return "are not given: files pass through the server"


@check("model", "artifacts are proxied")
def _model(stack: Stack) -> str:
    from importlib import metadata

    import mlflow
    import numpy as np
    from sklearn.linear_model import LinearRegression

    features = np.arange(12.0).reshape(6, 2) ** 2
    fitted = LinearRegression().fit(features, np.arange(6.0))
    with as_default(stack.uri), mlflow.start_run(run_id=stack.run_id):
        requirements = [f"{name}=={metadata.version(name)}" for name in ("mlflow", "scikit-learn")]
        info = mlflow.sklearn.log_model(fitted, name="model", pip_requirements=requirements)
    stack.model_id = str(info.model_id)
    for uri in (f"models:/{stack.model_id}", f"runs:/{stack.run_id}/model"):
        if not np.array_equal(_predict(stack, uri, features), fitted.predict(features)):
            raise Difference(f"a model that was loaded as {uri.split('/')[0]}/ predicts otherwise")
    return "logged, loaded by its id and by its run, predicts the same"


@check("registry", "model")
def _registry(stack: Stack) -> str:
    import numpy as np

    client = stack.client
    features = np.arange(12.0).reshape(6, 2) ** 2
    logged = client.get_logged_model(stack.model_id)
    client.create_registered_model(stack.name)
    made = client.create_model_version(
        stack.name, logged.artifact_location, run_id=stack.run_id, model_id=stack.model_id
    )
    # Not one that the server may guard.
    client.set_registered_model_alias(stack.name, "checked", made.version)
    found = client.get_model_version_by_alias(stack.name, "checked")
    if (str(made.version), str(found.version), found.run_id) != ("1", "1", stack.run_id):
        raise Difference(f"the alias leads to version {found.version} of run {found.run_id}")
    by_alias = _predict(stack, f"models:/{stack.name}@checked", features)
    if not np.array_equal(by_alias, _predict(stack, f"models:/{stack.model_id}", features)):
        raise Difference("the model that the alias leads to predicts otherwise")
    return "version and alias; the model loads by its alias"


def _predict(stack: Stack, uri: str, features: Any) -> Any:
    import mlflow.pyfunc

    with as_default(stack.uri), tempfile.TemporaryDirectory(dir=stack.folder) as folder:
        return mlflow.pyfunc.load_model(uri, dst_path=folder).predict(features)


@check("foreign Host header")
def _host(stack: Stack) -> str:
    """Whether a page elsewhere can reach the server by a name of its own that it points at it (DNS rebinding)."""
    return _refused(stack, {"Host": "foreign.invalid"})


@check("foreign Origin header")
def _origin(stack: Stack) -> str:
    """Whether a page elsewhere can have its readers' browsers send requests that change something."""
    return _refused(stack, {"Origin": "https://foreign.invalid"})


def _refused(stack: Stack, headers: Mapping[str, str]) -> str:
    answer = stack.ask("POST", "/api/2.0/mlflow/experiments/search", json={"max_results": 1}, extra_headers=headers)
    if answer.status_code != 403:
        raise Difference(f"is answered with {answer.status_code} and not refused with 403")
    return "is refused with 403"


@check("telemetry")
def _telemetry(stack: Stack) -> str:
    answer = stack.ask("GET", "/ajax-api/3.0/mlflow/ui-telemetry")
    if answer.status_code != 200 or answer.json().get("disable_ui_telemetry") is not True:
        raise Difference("the UI reports to MLflow's authors; MLFLOW_DISABLE_TELEMETRY=true keeps it from that")
    return "the UI sends none"
