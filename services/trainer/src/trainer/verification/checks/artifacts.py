"""Artifacts pass through the server, byte for byte; they are listed, replaced or not, and never deleted."""

from __future__ import annotations

import random
import time
from urllib.parse import urlsplit

from trainer.tracking.uris import without_credentials
from trainer.verification.checks.check import CheckList
from trainer.verification.stack import MIB, PROXIED, Difference, Stack, Stricter

check = CheckList()


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
