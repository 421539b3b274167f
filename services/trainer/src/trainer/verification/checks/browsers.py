"""What concerns browsers: other pages change nothing, and the UI reports to nobody."""

from __future__ import annotations

from collections.abc import Mapping

from trainer.verification.checks.check import CheckList
from trainer.verification.stack import Difference, Stack

check = CheckList()


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
