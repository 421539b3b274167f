"""The stack as everyone gets it, without AUTH=on: it knows no people, and nothing of them is there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import requests

from .people import user
from .stack import Stack, StackError

if TYPE_CHECKING:
    from docker.models.containers import Container

API = "/api/2.0/mlflow"


def test_run_is_whose_the_client_says(stack: Stack) -> None:
    """As with MLflow's own server: headers of the proxy's are no matter, and no tag is added."""
    headers = {"X-Replica-User": "ada", "X-Replica-Proof": "a guess", "Authorization": f"Bearer mlr_{'x' * 43}"}
    body = {"experiment_id": "0", "user_id": "somebody", "tags": [{"key": "mlflow.user", "value": "another"}]}
    made = requests.post(f"{stack.url}{API}/runs/create", json=body, headers=headers, timeout=60).json()["run"]
    assert made["info"]["user_id"] == "somebody"
    tags = {tag["key"]: tag["value"] for tag in made["data"]["tags"]}
    assert tags.pop("mlflow.runName") == made["info"]["run_name"]
    assert tags == {"mlflow.user": "another"}


def test_nothing_of_people_is_there(stack: Stack, proxy: Container) -> None:
    """No route, no table, no connection to the database, no record, and no role."""
    assert proxy.status == "running"
    assert requests.get(f"{stack.url}/people/me", timeout=60).status_code == 404
    assert stack.sql("SELECT 1 FROM information_schema.schemata WHERE schema_name = 'people'") == []
    assert stack.sql("SELECT 1 FROM information_schema.triggers WHERE trigger_name ~ '^people'") == []
    assert stack.sql("SELECT 1 FROM pg_stat_activity WHERE application_name = 'people'") == []
    with pytest.raises(StackError, match="audit: error: there is no record: AUTH has never been on"):
        stack.exec("mlflow", "audit")
    with pytest.raises(StackError, match="user: error: there are roles and tokens with AUTH=on only"):
        user(stack, "token", "list")
    # No administrator's password is made up.
    assert stack.read("proxy", "bash", "-c", "ls -A /run/secrets/admin; echo").strip() == ""
    with pytest.raises(StackError, match="user: error: there are roles and tokens with AUTH=on only"):
        user(stack, "first-admin")
