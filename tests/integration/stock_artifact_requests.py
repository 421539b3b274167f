"""The requests about artifacts that both servers get: see ``stock_requests``."""

from __future__ import annotations

from .stock_compare import Request
from .stock_requests import get, post
from .stock_state import ARTIFACTS, FILES, LARGE

AT = f"{ARTIFACTS}/{{place}}"
UI = "/ajax-api/2.0/mlflow/upload-artifact"
LONG_PART, LONG = "x" * 256, "/".join(["x" * 200] * 6)
#: Names that no artifact can have, and what MLflow does with them.
ODD_NAMES = (LONG_PART, "%C3%A4" * 128, LONG, "a//b", "a/./b", "a/%2e%2e/b", "a%00b", "%ff", "a/", "")


def put(path: str, content: bytes, row: str = "", **headers: str) -> Request:
    """Returns an upload."""
    return Request("PUT", path, content, headers, row)


def head(path: str, row: str = "") -> Request:
    """Returns a request for an artifact's headers."""
    return Request("HEAD", path, row=row)


DOWNLOADS = [
    *(get(f"{AT}/{name}") for name in FILES),
    get(f"/ajax-api{AT.removeprefix('/api')}/folder/a.txt"),
    get(f"{AT}/folder/a.txt", Range="bytes=0-1"),
    get(f"{AT}/folder/a.txt", Range="bytes=99-"),
    get(f"{AT}/large.bin", Range="bytes=-10"),
    Request("GET", f"{AT}/folder/a.txt", None, {"If-None-Match": "*"}),
    Request("GET", f"{AT}/folder/a.txt", None, {"If-Modified-Since": "Fri, 01 Jan 2100 00:00:00 GMT"}),
    head(f"{AT}/folder/a.txt"),
    head(f"{AT}/missing", "missing-artifact"),
    get(f"{AT}/missing", "missing-artifact"),
    get(f"{AT}/folder/missing.txt", "missing-artifact"),
    get(f"{AT}/folder", "missing-artifact"),
    *(get(f"{AT}/{name}", "odd-name") for name in ODD_NAMES),
    get(f"{ARTIFACTS}/../../etc/passwd", "odd-name"),
]

UPLOADS = [
    put(f"{AT}/new.txt", b"new"),
    put(f"{AT}/new.txt", b"new"),
    put(f"{AT}/new.txt", b"other"),
    get(f"{AT}/new.txt"),
    put(f"{AT}/new-folder/%C3%A4%20%2B.txt", b"odd"),
    put(f"{AT}/nothing.txt", b""),
    put(f"{AT}/" + "x" * 255, b"long"),
    put(f"{AT}/large-again.bin", LARGE),
    put(f"/ajax-api{AT.removeprefix('/api')}/ajax.txt", b"ajax", **{"Content-Type": "text/plain"}),
    put(f"{AT}/packed.txt", b"as it is", **{"Content-Encoding": "gzip"}),
    get(f"{AT}/packed.txt"),
    *(put(f"{ARTIFACTS}/odd/{name}", b"x", "odd-name") for name in ODD_NAMES),
    Request("POST", f"{AT}/new.txt", b"x", row="no-object"),
    Request("POST", f"{AT}/new.txt", b"{}"),
    Request("DELETE", f"{AT}/new.txt", row="deletion"),
    Request("DELETE", f"{AT}/folder", row="deletion"),
    Request("DELETE", f"{AT}/not-there", row="deletion"),
    get(f"{AT}/new.txt"),
]

LISTS = [
    get(f"{ARTIFACTS}?path={{place}}"),
    get(f"{ARTIFACTS}?path={{place}}/folder"),
    get(f"{ARTIFACTS}?path={{place}}/folder/"),
    get(f"{ARTIFACTS}?path={{place}}/folder/a.txt"),
    get(f"{ARTIFACTS}?path={{place}}/missing"),
    get(f"{ARTIFACTS}?path=../x"),
    get(f"{ARTIFACTS}?path=%2Fetc"),
    get(f"{ARTIFACTS}?path={{place}}%2F%2Ffolder", "odd-name"),
    get("artifacts/list?run_id={run}"),
    get("artifacts/list?run_uuid={run}"),
    get("artifacts/list?run_id={run}&path=folder"),
    get("artifacts/list?run_id={run}&path=folder/"),
    get("artifacts/list?run_id={run}&path=missing"),
    get("artifacts/list?run_id={run}&path=folder/a.txt"),
    get("artifacts/list?run_id={run}&path=../x"),
    get("artifacts/list?run_id={run}&path=a//b", "odd-name"),
    get("artifacts/list?run_id={run}&page_token=odd"),
    get("artifacts/list?run_id=missing"),
    get("artifacts/list"),
    get("artifacts/list?run_id={own_run}"),
]

GET = "/get-artifact?run_id={run}&path="
VERSION = "/model-versions/get-artifact?name=registered&version="
MODEL = "logged-models/{model}/artifacts"
VIEWS = [
    *(get(GET + name) for name in FILES),
    get("/get-artifact?run_uuid={run}&path=folder/a.txt"),
    Request("GET", f"{GET}folder/a.txt", None, {"Range": "bytes=0-1"}),
    Request("GET", f"{GET}large.bin", None, {"Range": "bytes=9-1"}),
    Request("GET", f"{GET}folder/a.txt", None, {"If-Modified-Since": "Fri, 01 Jan 2100 00:00:00 GMT"}),
    head(f"{GET}folder/a.txt"),
    get(f"{GET}missing", "missing-artifact"),
    get(f"{GET}folder"),
    get(f"{GET}../x"),
    get(f"{GET}a//b", "odd-name"),
    get("/get-artifact?run_id=missing&path=a.txt"),
    get("/get-artifact?run_id={run}"),
    get("/get-artifact"),
    get(f"{VERSION}1&path=MLmodel"),
    get(f"{VERSION}2&path=a.txt"),
    get(f"{VERSION}3&path=a.txt", "runs-source"),
    get(f"{VERSION}2&path=missing", "missing-artifact"),
    get(f"{VERSION}99&path=a.txt"),
    get(f"{VERSION}2&path=../x"),
    get(f"{MODEL}/directories"),
    get(f"{MODEL}/directories?artifact_directory_path=missing"),
    get(f"/ajax-api/2.0/mlflow/{MODEL}/files?artifact_file_path=MLmodel"),
    get(f"/ajax-api/2.0/mlflow/{MODEL}/files?artifact_file_path=missing", "missing-artifact"),
    get(f"/ajax-api/2.0/mlflow/{MODEL}/files"),
]

FROM_THE_UI = [
    post(f"{UI}?run_uuid={{second}}&path=ui.txt", b"ui"),
    post(f"{UI}?run_uuid={{second}}&path=folder/%C3%A4%20b.txt", b"ui"),
    post(f"{UI}?run_uuid={{second}}&path=../x", b"ui"),
    post(f"{UI}?run_uuid={{changed}}&path=a//b", b"ui", "odd-name"),
    post(f"{UI}?run_uuid={{changed}}&path={LONG_PART}", b"ui", "odd-name"),
    post(f"{UI}?run_uuid={{second}}&path=none.txt", b""),
    post(f"{UI}?run_uuid={{second}}", b"ui"),
    post(f"{UI}?path=ui.txt", b"ui"),
    post(f"{UI}?run_uuid=missing&path=ui.txt", b"ui"),
    post(f"{UI}?run_uuid={{second}}&path=large.bin", LARGE + b"x" * 2**21),
    post(f"{UI}?run_uuid={{second}}&path=large.bin", LARGE + LARGE, "too-large"),
    get("artifacts/list?run_id={second}"),
    post(f"{UI}?run_uuid={{own_run}}&path=ui.txt", b"ui"),
    get("artifacts/list?run_id={own_run}", "own-place"),
]

SIGNED = [
    get(f"{AT.replace('/artifacts/', '/presigned/', 1)}/folder/a.txt", "signed-addresses"),
    post(
        f"{AT.replace('/artifacts/', '/mpu/create/', 1)}/new.bin",
        {"path": "new.bin", "num_parts": 1},
        "signed-addresses",
    ),
]

ARTIFACT_REQUESTS = [*DOWNLOADS, *UPLOADS, *LISTS, *VIEWS, *FROM_THE_UI, *SIGNED]
