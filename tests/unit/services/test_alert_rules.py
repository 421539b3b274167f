"""services/monitoring: eight rules, each provoked by a case; the dashboards; what Alertmanager is told."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[3]
MONITORING = ROOT / "services/monitoring"
ALERTS = {
    "ServerDown", "Errors", "DiskFull", "Connections", "BackupOld", "CertificateExpires", "RunsStale", "ChampionFails",
}  # fmt: skip


def rules() -> list[dict[str, Any]]:
    (group,) = yaml.safe_load((MONITORING / "alerts.yaml").read_text())["groups"]
    found: list[dict[str, Any]] = group["rules"]
    return found


def test_each_rule_says_what_and_what_to_do() -> None:
    assert {rule["alert"] for rule in rules()} == ALERTS
    assert [rule["alert"] for rule in rules() if set(rule["annotations"]) != {"summary", "remedy"}] == []
    assert {rule["labels"]["severity"] for rule in rules()} == {"critical", "warning"}


def test_each_rule_is_provoked_and_kept_silent() -> None:
    cases = yaml.safe_load((MONITORING / "alerts_test.yaml").read_text())["tests"]
    silent = {one["alertname"] for one in cases[0]["alert_rule_test"] if "exp_alerts" not in one}
    fired = {
        name
        for case in cases[1:]
        for one in case["promql_expr_test"]
        for name in re.findall(r'alertname="(\w+)"', one["expr"])
        if one["exp_samples"]
    }
    assert (silent, fired) == (ALERTS, ALERTS)


def test_page_lists_each_alert() -> None:
    page = (ROOT / "docs/operators/monitoring.md").read_text()
    assert [name for name in ALERTS if f"| `{name}` |" not in page] == []


def test_grafanas_dashboard_is_made_of_the_panels() -> None:
    file = ROOT / "deploy/monitoring/make-dashboard"
    loader = importlib.machinery.SourceFileLoader("make_dashboard", str(file))
    spec = importlib.util.spec_from_loader("make_dashboard", loader)
    assert spec is not None
    made = importlib.util.module_from_spec(spec)
    loader.exec_module(made)
    committed = json.loads((ROOT / "deploy/monitoring/grafana-dashboard.json").read_text())
    assert committed == made.dashboard()
    assert len(committed["panels"]) > 15


def test_panels_and_rules_use_metrics_that_there_are() -> None:
    """Those of this repository's own code: a metric that is renamed is renamed everywhere."""
    text = (MONITORING / "alerts.yaml").read_text() + (MONITORING / "consoles/panels.json").read_text()
    named = set(re.findall(r"\b(?:mlflow|trainer_serving)_\w+", text)) - {"mlflow_artifacts_"}
    code = "".join(file.read_text() for file in (ROOT / "services/mlflow/src/replica_server/monitoring").glob("*.py"))
    served = (ROOT / "services/trainer/src/trainer/serving/counts.py").read_text()
    for metric in named:
        name = re.sub(r"_(total|bucket|count|sum)$", "", metric)
        known = (
            f'"{name.removeprefix("trainer_serving_")}"' in served
            if name.startswith("trainer")
            else f'"{name}"' in code
        )
        assert known, metric


def written(tmp_path: Path, **settings: str) -> tuple[int, str, str]:
    """Returns exit code, errors and the configuration that Alertmanager would start with."""
    if shutil.which("bash") is None:
        pytest.skip("needs bash")
    script = (MONITORING / "alertmanager-start").read_text()
    script = script.replace("config=/tmp", f"config={tmp_path}").replace("/run/secrets", str(tmp_path))
    script = script.replace("exec prometheus-alertmanager", "exec true")
    done = subprocess.run(
        ["bash", "-c", script], env={"PATH": "/usr/bin:/bin", **settings}, capture_output=True, text=True
    )
    return done.returncode, done.stderr, (tmp_path / "alertmanager.yaml").read_text()


def test_alerts_go_to_the_webhook_and_by_mail(tmp_path: Path) -> None:
    (tmp_path / "alert-webhook").write_text("https://hooks.example.org/a?b=c\n")
    (tmp_path / "alert-mail-password").write_text("secret\n")
    mail = {"ALERT_MAIL_TO": "o'ps: x@example.org", "ALERT_MAIL_FROM": "m@example.org"}
    code, said, text = written(tmp_path, **mail, ALERT_MAIL_SERVER="smtp.example.org:587", ALERT_MAIL_USER="m")
    assert (code, said) == (0, "")
    (receiver,) = yaml.safe_load(text)["receivers"]
    assert receiver["webhook_configs"][0]["url_file"] == f"{tmp_path}/alert-webhook"
    assert receiver["email_configs"][0]["to"] == "o'ps: x@example.org"
    assert receiver["email_configs"][0]["auth_password_file"] == f"{tmp_path}/alert-mail-password"
    assert "secret" not in text.replace(str(tmp_path), "")


def test_no_receiver_is_a_warning(tmp_path: Path) -> None:
    code, said, _ = written(tmp_path)
    assert code == 0
    assert said.startswith("alertmanager: warning: alerts go nowhere: name ALERT_WEBHOOK_FILE or ALERT_MAIL_TO")


@pytest.mark.parametrize(
    ("settings", "webhook", "says"),
    [
        ({}, "not an address", "ALERT_WEBHOOK_FILE holds no address"),
        ({"ALERT_MAIL_TO": "a@b"}, "", "ALERT_MAIL_SERVER has to be HOST:PORT"),
        ({"ALERT_MAIL_TO": "a@b", "ALERT_MAIL_SERVER": "s:25"}, "", "ALERT_MAIL_FROM is not set"),
        (
            {"ALERT_MAIL_TO": "a@b", "ALERT_MAIL_SERVER": "s:25", "ALERT_MAIL_FROM": "c@d", "ALERT_MAIL_USER": "u"},
            "",
            "ALERT_MAIL_USER is set, and ALERT_MAIL_PASSWORD_FILE names no file",
        ),
    ],
)
def test_bad_receiver_is_one_line(tmp_path: Path, settings: dict[str, str], webhook: str, says: str) -> None:
    (tmp_path / "alert-webhook").write_text(webhook)
    code, said, _ = written(tmp_path, **settings)
    assert code == 1
    assert said.startswith(f"alertmanager: error: {says}")
    assert said.count("\n") == 1
