"""Healthy when a client's request is answered: by the service's name, through the host check, out of the database.

MLflow's own /health is exempt from the host check and does not ask the database: it stays green while clients fail.
"""

import http.client
import sys

TIMEOUT = 5.0


def main() -> None:
    """Exits with 0 when the experiments can be listed, else with 1 and the reason."""
    connection = http.client.HTTPConnection("127.0.0.1", 5000, timeout=TIMEOUT)
    try:
        connection.request("GET", "/api/2.0/mlflow/experiments/search?max_results=1", headers={"Host": "mlflow:5000"})
        response = connection.getresponse()
        body = response.read(200).decode(errors="replace")
    except OSError as error:
        sys.exit(f"no answer: {error}")
    if response.status != http.client.OK:
        sys.exit(f"{response.status} {response.reason}: {body}")


if __name__ == "__main__":
    main()
