"""The health check of the server's container: healthy when clients' requests get through to the database.

It asks by the service's name, so the host check is a part of it. MLflow's own /health is exempt from the host check and
does not ask the database: it stays green while clients fail. An artifact is asked for too, because artifacts pass
through threads of their own. There is none of that name, and any answer will do: that the storage is away is one. Only
silence says that no request gets through.
"""

import http.client
import sys
import time
from pathlib import Path

# Seconds for both requests together, less than Docker's limit (compose.yaml).
TIMEOUT = 14.0
RUNS = "/api/2.0/mlflow/experiments/search?max_results=1"
# Who asks, where every request needs a login: elsewhere nothing looks at it.
CONSOLE = Path("/run/secrets/people/console")
ARTIFACT = "/api/2.0/mlflow-artifacts/artifacts/.health"


def main() -> None:
    """Exits with 0 when the experiments can be listed and an artifact is answered, else with 1 and the reason."""
    deadline = time.monotonic() + TIMEOUT
    headers = {"Host": "mlflow:5000"}
    if CONSOLE.exists():
        headers["X-Replica-Console"] = CONSOLE.read_text().rstrip("\n")
    for path in (RUNS, ARTIFACT):
        connection = http.client.HTTPConnection("127.0.0.1", 5000, timeout=max(deadline - time.monotonic(), 0.1))
        try:
            connection.request("GET", path, headers=headers)
            response = connection.getresponse()
            body = response.read(200).decode(errors="replace")
        except OSError as error:
            sys.exit(f"no answer to {path}: {error}")
        finally:
            connection.close()
        if path == RUNS and response.status != http.client.OK:
            sys.exit(f"{response.status} {response.reason}: {body}")
