"""Prints where to look: the UI's address, the best run so far, and the commands for next.

With --has-runs it prints nothing: exit status 0 says that something has been tracked already.
"""

# macOS's own Python is 3.9.
from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
import urllib.error
import urllib.request

EXPERIMENT = "purchase_predict"


def compose_port(service: str, port: int) -> str:
    """Returns the address (host:port) at which a service's port is published."""
    command = ["docker", "compose", "port", service, str(port)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def post(server: str, path: str, body: dict[str, object]) -> dict[str, list[dict[str, dict[str, object]]]]:
    """Calls MLflow's REST API (POST with JSON), with the login that MLflow's clients would use."""
    headers = {"Content-Type": "application/json"}
    if token := os.environ.get("MLFLOW_TRACKING_TOKEN"):
        headers["Authorization"] = f"Bearer {token}"
    request = urllib.request.Request(f"http://{server}/api/2.0/mlflow/{path}", json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=30) as response:  # noqa: S310
        answer: dict[str, list[dict[str, dict[str, object]]]] = json.load(response)
        return answer


def best_run(server: str) -> tuple[str, str, str, float] | None:
    """Returns (experiment id, run id, run name, validation average precision) of the best finished run, if any."""
    found = post(server, "experiments/search", {"filter": f"name = '{EXPERIMENT}'", "max_results": 1})
    for experiment in found.get("experiments", []):
        query = {
            "experiment_ids": [experiment["experiment_id"]],
            # By the validation rows, as a sweep chooses. Its parent carries the child's metrics: the child is wanted.
            # A run of another client's may have no such metric.
            "filter": "attributes.status = 'FINISHED' AND params.learning_rate != ''"
            " AND metrics.validation_average_precision >= 0",
            "order_by": ["metrics.validation_average_precision DESC"],
            "max_results": 1,
        }
        for run in post(server, "runs/search", query).get("runs", []):
            metrics = {metric["key"]: metric["value"] for metric in run["data"]["metrics"]}  # type: ignore[attr-defined]
            info = run["info"]
            chosen_by = metrics["validation_average_precision"]
            return str(info["experiment_id"]), str(info["run_id"]), str(info["run_name"]), chosen_by
    return None


def name_of(server: str) -> str:
    """Returns the address for a browser: localhost, unless something else answers there.

    macOS's AirPlay receiver holds port 5000 at localhost's IPv6 address too, which browsers try first.
    """
    port = server.rsplit(":", 1)[1]
    try:
        with urllib.request.urlopen(f"http://localhost:{port}/health", timeout=30):
            return f"localhost:{port}"
    except (OSError, http.client.HTTPException):
        print(
            f"summary: warning: at localhost:{port} something else answers (macOS: the AirPlay receiver);"
            " give MLflow another port: MLFLOW_PORT=5050 scripts/up",
            file=sys.stderr,
        )
        return server


def main() -> None:
    """Prints the summary, or answers --has-runs."""
    server = compose_port("edge", 5000)
    try:
        best = best_run(server)
    except urllib.error.HTTPError as error:
        if error.code != 401:
            raise
        # A stack with logins (AUTH=on) is no first one, and what is in it is its users'.
        if "--has-runs" in sys.argv[1:]:
            return
        best = None
    if "--has-runs" in sys.argv[1:]:
        sys.exit(0 if best else 1)
    name = name_of(server)
    print(f"\nMLflow          http://{name}")
    if best:
        experiment, run, run_name, precision = best
        print(f"best run        {run_name}: validation average precision {precision:.4f}")
        print(f"                http://{name}/#/experiments/{experiment}/runs/{run}")
    print(
        """
next
  train a variant     docker compose run --rm trainer --n-estimators 500 --learning-rate 0.025
  on your own data    DATA_DIR=/your/folder docker compose run --rm trainer --data /data/your.csv --target Revenue
  the sweep again     docker compose run --rm trainer sweep --again
  stop, keep data     docker compose --profile '*' down
  remove everything   docker compose --profile '*' down --volumes"""
    )


if __name__ == "__main__":
    main()
