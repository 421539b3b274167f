"""What the server is: its version, and its backend store."""

from __future__ import annotations

from trainer.util.text import one_line
from trainer.verification.checks.check import CheckList
from trainer.verification.stack import Difference, Stack

#: The version of MLflow that the replica's server runs.
MLFLOW = "3.17.2"

check = CheckList()


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
