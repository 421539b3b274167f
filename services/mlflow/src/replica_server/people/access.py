"""Each route, and the role that it takes: what is in no row is refused (test_access.py compares with MLflow's routes).

A row is a role (or `open`), a method and a path; `~` stands for the prefixes of MLflow's API, and `<…>` for a part of a
path. A fourth word is the change's name in the record: such requests are recorded. What depends on the object (whose
run, which alias) is decided by guards.py.
"""

import re
from dataclasses import dataclass
from functools import lru_cache

from replica_server.people.roles import ROLES, Role
from replica_server.requests import routes

TABLE = """
open    GET    /health
open    GET    /version
viewer  GET    /
viewer  GET    /build/<path:file>
viewer  GET    /static-files/<path:file>
viewer  GET    /get-artifact
viewer  GET    /model-versions/get-artifact
viewer  GET    /graphql
viewer  POST   /graphql
member  POST   /v1/traces
viewer  GET    ~mlflow-artifacts/artifacts
viewer  GET    ~mlflow-artifacts/artifacts/<path:artifact>
member  PUT    ~mlflow-artifacts/artifacts/<path:artifact>
admin   DELETE ~mlflow-artifacts/artifacts/<path:artifact>
member  POST   ~mlflow-artifacts/mpu/<action>/<path:artifact>
viewer  GET    ~mlflow-artifacts/presigned/<path:artifact>
viewer  GET    ~mlflow/artifacts/list
viewer  POST   ~mlflow/artifacts/presigned-download-url
member  POST   ~mlflow/artifacts/presigned-upload-url
member  POST   ~mlflow/upload-artifact
member  POST   ~mlflow/datasets/create
viewer  GET    ~mlflow/datasets/search
viewer  POST   ~mlflow/datasets/search
viewer  GET    ~mlflow/datasets/<dataset>
admin   DELETE ~mlflow/datasets/<dataset> delete-dataset
member  POST   ~mlflow/datasets/<dataset>/add-experiments
member  POST   ~mlflow/datasets/<dataset>/remove-experiments
viewer  GET    ~mlflow/datasets/<dataset>/experiment-ids
viewer  GET    ~mlflow/datasets/<dataset>/records
member  POST   ~mlflow/datasets/<dataset>/records
admin   DELETE ~mlflow/datasets/<dataset>/records delete-records
member  PATCH  ~mlflow/datasets/<dataset>/tags
member  DELETE ~mlflow/datasets/<dataset>/tags/<key>
admin   POST   ~mlflow/demo/delete delete-demo
admin   POST   ~mlflow/demo/generate generate-demo
member  POST   ~mlflow/experiments/create create-experiment
member  POST   ~mlflow/experiments/delete delete-experiment
member  POST   ~mlflow/experiments/restore restore-experiment
member  POST   ~mlflow/experiments/update rename-experiment
member  POST   ~mlflow/experiments/set-experiment-tag
member  POST   ~mlflow/experiments/delete-experiment-tag
viewer  GET    ~mlflow/experiments/get
viewer  GET    ~mlflow/experiments/get-by-name
viewer  GET    ~mlflow/experiments/search
viewer  POST   ~mlflow/experiments/search
viewer  POST   ~mlflow/experiments/search-datasets
viewer  GET    ~mlflow/gateway-proxy
admin   POST   ~mlflow/gateway-proxy
viewer  GET    ~mlflow/get-online-trace-details
viewer  GET    ~mlflow/get-trace-artifact
member  POST   ~mlflow/issues
viewer  POST   ~mlflow/issues/search
viewer  GET    ~mlflow/issues/<issue>
member  PATCH  ~mlflow/issues/<issue>
member  POST   ~mlflow/label-schemas/create
admin   DELETE ~mlflow/label-schemas/delete delete-label-schema
viewer  GET    ~mlflow/label-schemas/get
viewer  GET    ~mlflow/label-schemas/get-by-name
viewer  GET    ~mlflow/label-schemas/list
member  PATCH  ~mlflow/label-schemas/update
member  POST   ~mlflow/logged-models create-logged-model
viewer  POST   ~mlflow/logged-models/search
viewer  GET    ~mlflow/logged-models/<model>
member  PATCH  ~mlflow/logged-models/<model>
member  DELETE ~mlflow/logged-models/<model> delete-logged-model
viewer  GET    ~mlflow/logged-models/<model>/artifacts/directories
viewer  GET    ~mlflow/logged-models/<model>/artifacts/files
member  POST   ~mlflow/logged-models/<model>/params
member  PATCH  ~mlflow/logged-models/<model>/tags
member  DELETE ~mlflow/logged-models/<model>/tags/<key>
viewer  GET    ~mlflow/metrics/get-history
viewer  GET    ~mlflow/metrics/get-history-bulk
viewer  GET    ~mlflow/metrics/get-history-bulk-interval
member  POST   ~mlflow/model-versions/create create-version
member  DELETE ~mlflow/model-versions/delete delete-version
member  DELETE ~mlflow/model-versions/delete-tag
viewer  GET    ~mlflow/model-versions/get
viewer  GET    ~mlflow/model-versions/get-download-uri
viewer  GET    ~mlflow/model-versions/search
member  POST   ~mlflow/model-versions/set-tag
member  POST   ~mlflow/model-versions/transition-stage move-stage
member  PATCH  ~mlflow/model-versions/update
viewer  GET    ~mlflow/registered-models/alias
member  POST   ~mlflow/registered-models/alias set-alias
member  DELETE ~mlflow/registered-models/alias delete-alias
member  POST   ~mlflow/registered-models/create create-model
member  DELETE ~mlflow/registered-models/delete delete-model
member  POST   ~mlflow/registered-models/rename rename-model
viewer  GET    ~mlflow/registered-models/get
viewer  GET    ~mlflow/registered-models/get-latest-versions
viewer  POST   ~mlflow/registered-models/get-latest-versions
viewer  GET    ~mlflow/registered-models/search
member  POST   ~mlflow/registered-models/set-tag
member  DELETE ~mlflow/registered-models/delete-tag
member  PATCH  ~mlflow/registered-models/update
member  POST   ~mlflow/review-queues/create
admin   POST   ~mlflow/review-queues/delete delete-review-queue
viewer  GET    ~mlflow/review-queues/get
viewer  GET    ~mlflow/review-queues/get-by-name
viewer  GET    ~mlflow/review-queues/list
member  POST   ~mlflow/review-queues/get-or-create-user
member  POST   ~mlflow/review-queues/update
viewer  GET    ~mlflow/review-queues/items/list
member  POST   ~mlflow/review-queues/items/add
member  POST   ~mlflow/review-queues/items/remove
member  POST   ~mlflow/review-queues/items/set-status
member  POST   ~mlflow/runs/create create-run
member  POST   ~mlflow/runs/delete delete-run
member  POST   ~mlflow/runs/restore restore-run
member  POST   ~mlflow/runs/delete-tag
viewer  GET    ~mlflow/runs/get
member  POST   ~mlflow/runs/log-batch
member  POST   ~mlflow/runs/log-inputs
member  POST   ~mlflow/runs/log-metric
member  POST   ~mlflow/runs/log-model
member  POST   ~mlflow/runs/log-parameter
member  POST   ~mlflow/runs/outputs
viewer  POST   ~mlflow/runs/search
member  POST   ~mlflow/runs/set-tag
member  POST   ~mlflow/runs/update
viewer  GET    ~mlflow/server-info
viewer  GET    ~mlflow/traces
member  POST   ~mlflow/traces
viewer  GET    ~mlflow/traces/batchGet
viewer  POST   ~mlflow/traces/batchGetInfos
viewer  POST   ~mlflow/traces/calculate-filter-correlation
admin   POST   ~mlflow/traces/delete-traces delete-traces
viewer  GET    ~mlflow/traces/get
member  POST   ~mlflow/traces/link-prompts
member  POST   ~mlflow/traces/link-to-run
viewer  POST   ~mlflow/traces/metrics
viewer  POST   ~mlflow/traces/search
viewer  GET    ~mlflow/traces/<trace>
member  PATCH  ~mlflow/traces/<trace>
viewer  GET    ~mlflow/traces/<trace>/info
member  PATCH  ~mlflow/traces/<trace>/tags
member  DELETE ~mlflow/traces/<trace>/tags
member  POST   ~mlflow/traces/<trace>/assessments
viewer  GET    ~mlflow/traces/<trace>/assessments/<assessment>
member  PATCH  ~mlflow/traces/<trace>/assessments/<assessment>
admin   DELETE ~mlflow/traces/<trace>/assessments/<assessment> delete-assessment
viewer  GET    ~mlflow/ui-telemetry
viewer  POST   ~mlflow/ui-telemetry
viewer  GET    ~mlflow/unified-traces
viewer  GET    ~mlflow/assistant/config
viewer  GET    ~mlflow/assistant/providers
viewer  GET    ~mlflow/scorers/list
viewer  GET    /people/me
admin   GET    /people/users
admin   POST   /people/users/<user> add-user
admin   PATCH  /people/users/<user> change-role
admin   DELETE /people/users/<user> remove-user
admin   GET    /people/tokens
admin   POST   /people/tokens/<user>/<token> add-token
admin   DELETE /people/tokens/<user>/<token> remove-token
"""


@dataclass(frozen=True)
class Row:
    """A row of the table.

    Attributes:
        role: The least role that it takes; None: it is open to everyone.
        method: The request's.
        path: What matches the request's path.
        change: The change's name in the record; empty when it is not recorded.
    """

    role: Role | None
    method: str
    path: re.Pattern[str]
    change: str = ""


def _expression(path: str) -> re.Pattern[str]:
    parts = re.split(r"(<path:\w+>|<\w+>|^~)", path)
    known = {"~": rf"{routes.API}/?"}
    return re.compile(
        "".join(
            known.get(part) or (".+" if part.startswith("<path:") else "[^/]+" if part[:1] == "<" else re.escape(part))
            for part in parts
        ),
        re.DOTALL,
    )


def _row(line: str) -> Row:
    role, method, path, *change = line.split()
    return Row(None if role == "open" else ROLES[role], method, _expression(path), "".join(change))


ROWS = tuple(_row(line) for line in TABLE.strip().splitlines())
#: The routes that MLFLOW_EXTRA_ROUTES turns on hold keys and run code: only an administrator's.
EXTRA = Row(Role.ADMIN, "", re.compile(""), "extra-route")
LONGEST_KEPT = 512
#: The methods that change nothing.
READING = ("GET", "HEAD", "OPTIONS")
_BY_METHOD: dict[str, list[Row]] = {}
for _each in ROWS:
    _BY_METHOD.setdefault(_each.method, []).append(_each)


def find(method: str, path: str) -> Row | None:
    """Returns the first row of a request; None when there is none, and so nobody may send it."""
    # Strangers' long paths are not kept: a few thousand would fill the memory.
    return _kept(method, path) if len(method) + len(path) <= LONGEST_KEPT else _find(method, path)


def _find(method: str, path: str) -> Row | None:
    method = {"HEAD": "GET", "OPTIONS": "GET"}.get(method, method)
    for row in _BY_METHOD.get(method, ()):
        if row.path.fullmatch(path):
            return row
    return EXTRA if routes.group(path) else None


_kept = lru_cache(4096)(_find)
