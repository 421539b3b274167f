"""Times log_metric against several servers in turn; prints the median of each in milliseconds, as JSON.

Runs in the trainer's container. Usage: log_metric.py CALLS SERVER...
"""

import json
import statistics
import sys
import time

from mlflow.tracking import MlflowClient


def main() -> None:
    """Logs the same metrics to each server, alternating, so that a slow moment of the machine hits all alike."""
    calls, servers = int(sys.argv[1]), sys.argv[2:]
    clients = {server: MlflowClient(tracking_uri=server) for server in servers}
    runs = {}
    for server, client in clients.items():
        found = client.get_experiment_by_name("benchmark")
        experiment = found.experiment_id if found else client.create_experiment("benchmark")
        runs[server] = client.create_run(experiment).info.run_id
    seconds: dict[str, list[float]] = {server: [] for server in servers}
    for step in range(calls):
        for server, client in clients.items():
            start = time.perf_counter()
            client.log_metric(runs[server], "value", float(step), step=step)
            seconds[server].append(time.perf_counter() - start)
    for server, client in clients.items():
        client.set_terminated(runs[server])
    # The first calls open connections and fill caches.
    print(json.dumps({server: 1000 * statistics.median(times[10:]) for server, times in seconds.items()}))


if __name__ == "__main__":
    main()
