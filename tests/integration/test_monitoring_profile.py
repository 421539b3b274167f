"""The profile `monitoring`: what it reads, what it costs, whom it reaches, and that an alert comes to a webhook."""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
import requests
from mlflow import MlflowClient

from .container_memory import MIB, held
from .stack import ROOT, Stack, StackError, wait_until

if TYPE_CHECKING:
    from docker.models.containers import Container

    from .conftest import NewStack

pytestmark = pytest.mark.minio

SERVICES = ("prometheus", "prometheus-edge", "alertmanager", "postgres-exporter", "blackbox")
LIMIT = 150 * MIB
FILES = ROOT / "services/monitoring"
RECEIVER = """
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        print(self.rfile.read(int(self.headers["content-length"])).decode(), flush=True)
        self.send_response(200)
        self.end_headers()
    def log_message(self, *_):
        pass
http.server.HTTPServer(("", 8000), Handler).serve_forever()
"""


@pytest.fixture(scope="module")
def watched(new_stack: NewStack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Stack, Container]]:
    """A stack with the profile, whose rules do not wait, and the container that gets its alerts."""
    folder = tmp_path_factory.mktemp("alerts")
    rules = folder / "alerts.yaml"
    rules.write_text(re.sub(r"for: \d+m", "for: 0s", (FILES / "alerts.yaml").read_text()))
    webhook = folder / "webhook"
    webhook.write_text("http://receiver:8000/\n")
    for path in (folder, rules, webhook):
        path.chmod(0o755)
    override = {"services": {"prometheus": {"volumes": [f"{rules}:/etc/monitoring/alerts.yaml:ro"]}}}
    settings = {"COMPOSE_PROFILES": "minio,monitoring", "ALERT_WEBHOOK_FILE": str(webhook)}
    with new_stack(settings=settings, override=override) as stack:
        # The rules, which do not wait here, are not to see the server while it starts.
        stack.up(settings={"COMPOSE_PROFILES": "minio"})
        stack.up()
        receiver = stack.docker.containers.run(
            stack.image("trainer"), entrypoint=["python3", "-c", RECEIVER], detach=True, init=True
        )
        try:
            stack.docker.networks.get(f"{stack.project}_outside").connect(receiver, aliases=["receiver"])
            yield stack, receiver
        finally:
            receiver.remove(force=True)


def address(stack: Stack) -> str:
    ports = stack.container("prometheus-edge").ports["5000/tcp"] or []
    assert {port["HostIp"] for port in ports} == {"127.0.0.1"}
    return f"http://127.0.0.1:{ports[0]['HostPort']}"


def query(stack: Stack, expression: str) -> list[dict[str, Any]]:
    """Returns the series of an expression, as Prometheus has them now."""
    answer = requests.get(f"{address(stack)}/api/v1/query", params={"query": expression}, timeout=30).json()
    found: list[dict[str, Any]] = answer["data"]["result"]
    return found


def alerts(receiver: Container) -> set[str]:
    """Returns the names of the alerts that came to the webhook as firing."""
    messages = [json.loads(line) for line in receiver.logs().decode().splitlines() if line]
    return {
        one["labels"]["alertname"] for message in messages for one in message["alerts"] if one["status"] == "firing"
    }


def test_everything_is_read(watched: tuple[Stack, Container]) -> None:
    stack, _ = watched
    wanted = {"mlflow", "postgres", "minio", "monitoring"}
    wait_until(lambda: {one["metric"]["job"] for one in query(stack, "up == 1")} == wanted, "all are read", 120)
    assert query(stack, "up == 0") == []
    for expression in ("mlflow_runs_stale", "pg_settings_max_connections", "pg_stat_database_numbackends > 0"):
        wait_until(lambda expression=expression: query(stack, expression), expression, 60)  # type: ignore[misc]
    assert [one["value"][1] for one in query(stack, "mlflow_database_up")] == ["1"]
    assert query(stack, "minio_cluster_usage_total_bytes or minio_cluster_capacity_raw_total_bytes")


def test_each_rule_is_provoked_and_kept_silent(images: None, watched: tuple[Stack, Container]) -> None:
    """By Prometheus's own tests of rules, with the rules as they are."""
    image = watched[0].image("monitoring")
    command = ["promtool", "test", "rules", "/etc/monitoring/alerts_test.yaml"]
    said = watched[0].docker.containers.run(image, command, remove=True, network_mode="none")
    assert b"SUCCESS" in said
    checked = watched[0].docker.containers.run(
        image, ["promtool", "check", "rules", "/etc/monitoring/alerts.yaml"], remove=True, network_mode="none"
    )
    assert b"8 rules found" in checked


def test_each_panel_is_an_expression_that_works(watched: tuple[Stack, Container]) -> None:
    stack, _ = watched
    panels = requests.get(f"{address(stack)}/consoles/panels.json", timeout=30).json()
    assert len(panels) > 15
    for panel in panels:
        asked = {"query": panel["expr"]}
        answer = requests.get(f"{address(stack)}/api/v1/query", params=asked, timeout=30).json()
        assert answer["status"] == "success", (panel["title"], answer)
    page = requests.get(f"{address(stack)}/consoles/index.html", timeout=30)
    assert (page.status_code, "panels.json" in page.text) == (200, True)


def test_usage_is_in_the_dashboard(watched: tuple[Stack, Container]) -> None:
    """Bytes, runs and models by experiment, once the server has listed the storage; a panel shows each."""
    stack, _ = watched
    client = MlflowClient(stack.url)
    client.log_text(client.create_run(client.create_experiment("shown")).info.run_id, "x" * 500, "note.txt")
    # The server lists the storage once a minute, and Prometheus asks it every 15 seconds.
    shown = 'mlflow_experiment_bytes{experiment="shown"}'
    wait_until(lambda: query(stack, shown), shown, 240)
    assert [one["value"][1] for one in query(stack, shown)] == ["500"]
    for name in ("bytes", "runs", "models"):
        metric = f"mlflow_experiment_{name}"
        panels = requests.get(f"{address(stack)}/consoles/panels.json", timeout=30).json()
        assert [panel["title"] for panel in panels if f"({metric})" in panel["expr"] or f", {metric})" in panel["expr"]]
        assert "shown" in {one["metric"]["experiment"] for one in query(stack, metric)}


def test_role_reads_statistics_and_no_table(watched: tuple[Stack, Container]) -> None:
    stack, _ = watched
    password = stack.read_volume("monitor-secret", "password").strip()

    def ask(sql: str) -> str:
        environment = {"PGPASSWORD": password}
        return stack.exec(
            "postgres", "psql", "-hpostgres", "-Umonitor", "-dmlflow", "-Atc", sql, environment=environment
        )

    assert int(ask("SELECT count(*) FROM pg_stat_activity")) > 0
    for refused in ("SELECT * FROM runs", "CREATE TABLE public.t (a int)", "CREATE ROLE r", "DELETE FROM metrics"):
        with pytest.raises(StackError, match="permission denied"):
            ask(refused)


def test_services_have_few_rights(watched: tuple[Stack, Container]) -> None:
    """Each is on the networks that it needs, and runs as a user without capabilities; one port is published."""
    stack, _ = watched
    joined = {
        "prometheus": {"inside", "storage-internal", "monitoring"},
        "prometheus-edge": {"monitoring", "outside"},
        "alertmanager": {"monitoring", "outside"},
        "postgres-exporter": {"database", "monitoring"},
        "blackbox": {"inside", "monitoring"},
    }
    for service in SERVICES:
        attributes = stack.container(service).attrs
        networks = {name.removeprefix(f"{stack.project}_") for name in attributes["NetworkSettings"]["Networks"]}
        assert networks == joined[service]
        host = attributes["HostConfig"]
        assert (host["CapDrop"], host["ReadonlyRootfs"], host["Privileged"]) == (["ALL"], True, False)
        assert attributes["Config"]["User"] not in ("", "0", "root")
        assert 0 < host["Memory"] <= 256 * MIB
        published = {port for port, bindings in attributes["NetworkSettings"]["Ports"].items() if bindings}
        assert published == ({"5000/tcp"} if service == "prometheus-edge" else set())


def test_profile_is_light(watched: tuple[Stack, Container], capsys: pytest.CaptureFixture[str]) -> None:
    stack, _ = watched
    wait_until(lambda: query(stack, "mlflow_runs_stale"), "it works", 60)
    memory = {service: held(stack.container(service)) / MIB for service in SERVICES}
    with capsys.disabled():
        print(f"\nmonitoring, MiB: {sum(memory.values()):.0f}", {name: round(size, 1) for name, size in memory.items()})
    assert sum(memory.values()) * MIB <= LIMIT


def test_backup_leaves_its_time(watched: tuple[Stack, Container], tmp_path_factory: pytest.TempPathFactory) -> None:
    """And one that is too old is told of."""
    stack, receiver = watched
    folder = tmp_path_factory.mktemp("backup")
    environment = {**stack.environment, **stack.settings}
    subprocess.run(
        [ROOT / "scripts/backup", str(folder)], env=environment, check=True, capture_output=True, timeout=120
    )
    age = "time() - mlflow_last_backup_timestamp_seconds"
    wait_until(lambda: query(stack, age), "the backup is seen", 90)
    assert float(query(stack, age)[0]["value"][1]) < 600
    assert "BackupOld" not in alerts(receiver)
    stack.sql(f"COMMENT ON DATABASE mlflow IS 'last backup: {int(time.time()) - 27 * 3600}'")
    wait_until(lambda: "BackupOld" in alerts(receiver), "the alert comes", 120)


def test_server_that_is_down_is_told_of(watched: tuple[Stack, Container]) -> None:
    stack, receiver = watched
    assert "ServerDown" not in alerts(receiver)
    stack.compose("stop", "mlflow")
    wait_until(lambda: "ServerDown" in alerts(receiver), "the alert comes", 120)
