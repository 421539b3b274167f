"""Checks the stack and its machine: one line for each check, with OK, warning or error, and a remedy."""

# macOS's own Python is 3.9.
from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import sys
import time
import urllib.error
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path

import summary

ROOT = Path(__file__).resolve().parents[1]
OK, WARNING, ERROR = "OK", "warning", "error"
LABEL = "org.opencontainers.image.version"
# Where the nightly backup is, and where one by hand is by default.
BACKUPS = (ROOT / "backups", Path("/var/lib/mlflow-replica/backups"))
# Those that prepare something and end.
ONE_SHOTS = ("secrets", "bucket", "preflight", "migrate", "monitor-role")
# scripts/backup leaves its time as the database's comment.
NOTE = r"""export PGPASSWORD; PGPASSWORD=$(cat "$POSTGRES_PASSWORD_FILE")
psql --host "$HOSTNAME" --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" --no-psqlrc --tuples-only --command \
    "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = current_database()" </dev/null"""
HOUR, DAY = 3600.0, 86400.0
COMPOSE = (2, 20)


@dataclass
class Finding:
    """What a check found.

    Attributes:
        check: What was looked at.
        state: OK, warning or error.
        found: What was seen.
        remedy: What to do; empty where nothing is to be done.
    """

    check: str
    state: str
    found: str
    remedy: str = ""


def run(*command: str) -> str:
    """Returns what a command prints; raises OSError or CalledProcessError when it fails."""
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60, cwd=ROOT).stdout.strip()


def docker(*command: str) -> str:
    """Returns what a command of Docker's prints."""
    return run("docker", *command)


def containers() -> list[dict[str, str]]:
    """Returns this stack's servers, as Compose lists them."""
    text = docker("compose", "ps", "--all", "--format", "json")
    # A list, or an object on each line: that changed between Compose's versions.
    found = json.loads(text) if text.startswith("[") else [json.loads(line) for line in text.splitlines()]
    return [one for one in found if one["Service"] not in ONE_SHOTS]


def engine() -> Finding:
    """The engine answers, and Compose is new enough."""
    version = docker("version", "--format", "{{.Server.Version}}")
    compose = docker("compose", "version", "--short")
    numbers = tuple(int(number) for number in re.findall("[0-9]+", compose)[:2])
    state = OK if numbers >= COMPOSE else WARNING
    return Finding(
        "engine", state, f"Docker {version}, Compose {compose}", "" if state == OK else "update Docker Compose"
    )


def services() -> Finding:
    """Every server runs and is healthy."""
    found = containers()
    if not found:
        return Finding("services", ERROR, "none runs", "docker compose up --detach --wait")
    ill = [one["Service"] for one in found if one["State"] != "running" or one["Health"] not in ("", "healthy")]
    names = ", ".join(sorted(one["Service"] for one in found))
    if ill:
        return Finding("services", ERROR, f"not healthy: {', '.join(ill)}", f"docker compose logs {ill[0]}")
    return Finding("services", OK, f"healthy: {names}")


def memory() -> Finding:
    """The machine has what the containers may take together."""
    total = int(docker("info", "--format", "{{.MemTotal}}"))
    ids = docker("compose", "ps", "--quiet").split()
    limits = docker("inspect", "--format", "{{.HostConfig.Memory}}", *ids).split() if ids else []
    taken = sum(map(int, limits))
    found = f"{total / 2**30:.1f} GiB, of which the running containers may take {taken / 2**30:.1f}"
    if taken > total:
        return Finding("memory", WARNING, found, "lower MLFLOW_MEMORY, MINIO_MEMORY or POSTGRES_MEMORY, or add memory")
    return Finding("memory", OK, found)


def disk_of(text: str) -> tuple[float, int]:
    """Returns how full a disk is (0 to 1) and how many bytes are free, of what `df -Pk` prints."""
    fields = text.splitlines()[-1].split()
    used, free = int(fields[2]), int(fields[3])
    return used / max(used + free, 1), free * 1024


def disk() -> Finding:
    """The disk that the engine keeps its volumes on is not full."""
    try:
        text = docker("compose", "exec", "-T", "postgres", "df", "-Pk", "/var/lib/postgresql/data")
    except subprocess.CalledProcessError:
        # The database is elsewhere (compose.external-postgres.yaml), or down.
        text = docker("compose", "exec", "-T", "mlflow", "df", "-Pk", "/var/tmp/mlflow")  # noqa: S108 - a volume
    full, free = disk_of(text)
    state = OK if full < 0.85 else WARNING if full < 0.95 else ERROR
    remedy = "docker image prune, docker builder prune, docker compose run --rm gc; or a larger disk"
    return Finding("disk", state, f"{full:.0%} full, {free / 2**30:.1f} GiB free", "" if state == OK else remedy)


def ports() -> Finding:
    """The server's port is this stack's."""
    port = int(os.environ.get("MLFLOW_PORT") or 5000)
    try:
        return Finding("ports", OK, f"published at {summary.compose_port('edge', 5000)}")
    except subprocess.CalledProcessError:
        pass
    with socket.socket() as attempt:
        attempt.settimeout(2)
        taken = attempt.connect_ex(("127.0.0.1", port)) == 0
    if taken:
        return Finding(
            "ports", ERROR, f"another program has port {port}", "MLFLOW_PORT=5050 docker compose up --detach --wait"
        )
    return Finding(
        "ports", WARNING, f"port {port} is free, and the server is not published", "docker compose up --detach --wait"
    )


def clock() -> Finding:
    """The engine's clock is this machine's: in a virtual machine it may go wrong, and signed requests are refused."""
    text = docker("info", "--format", "{{.SystemTime}}")
    found = re.match(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d{1,6})?\d*(Z|[+-]\d\d:\d\d)", text)
    if not found:
        return Finding("clock", WARNING, f"the engine says {text}")
    moment = datetime.fromisoformat(f"{found[1]}{'+00:00' if found[3] == 'Z' else found[3]}")
    off = abs(moment.timestamp() - time.time())
    if off > 5:
        return Finding(
            "clock", ERROR, f"the engine's is off by {off:.0f} s", "synchronize it (NTP), or restart the engine"
        )
    return Finding("clock", OK, "the engine's agrees with this machine's")


def files_version() -> str:
    """Returns the version of these files."""
    text = (ROOT / "services/trainer/pyproject.toml").read_text()
    found = re.search(r'^version = "(.*)"$', text, re.MULTILINE)
    return found[1] if found else "unknown"


def versions() -> Finding:
    """What runs is of the version of these files."""
    files = files_version()
    ids = docker("compose", "ps", "--quiet").split()
    template = f'{{{{index .Config.Labels "{LABEL}"}}}}'
    running = set(docker("inspect", "--format", template, *ids).split()) if ids else set()
    others = sorted(running - {files})
    if others:
        return Finding("versions", WARNING, f"these files are {files}, and {', '.join(others)} runs", "scripts/up")
    return Finding("versions", OK, f"{files}{'' if running else '; nothing runs'}")


def certificate_end(address: str, port: int) -> float:
    """Returns when the certificate at an address ends (seconds since 1970); raises ssl.SSLError when it has ended."""
    pem = (
        ssl.get_server_certificate((address, port), timeout=10)
        if sys.version_info >= (3, 10)
        else (ssl.get_server_certificate((address, port)))
    )
    context = ssl.create_default_context(cadata=pem)
    context.check_hostname = False
    # The certificate itself is what is trusted: only its dates are looked at.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN if sys.version_info >= (3, 10) else 0x80000
    with socket.create_connection((address, port), timeout=10) as plain, context.wrap_socket(plain) as secure:
        found = secure.getpeercert() or {}
    return ssl.cert_time_to_seconds(str(found["notAfter"]))


def certificates() -> Finding:
    """The proxy's certificate does not end soon."""
    try:
        address = summary.compose_port("proxy", 443)
    except subprocess.CalledProcessError:
        return Finding("certificates", OK, "the proxy does not run")
    renew = "docker compose logs proxy says why it was not renewed; or give another (PROXY_CERTIFICATE_FILE)"
    host, _, port = address.rpartition(":")
    try:
        left = certificate_end("127.0.0.1" if host in ("0.0.0.0", "[::]") else host, int(port)) - time.time()  # noqa: S104
    except ssl.SSLCertVerificationError as error:
        return Finding("certificates", ERROR, error.verify_message, renew)
    except (OSError, KeyError) as error:
        return Finding("certificates", ERROR, f"none is shown: {error}", "docker compose logs proxy")
    # Caddy's own authority makes some that are valid for half a day, and renews them in time.
    state = OK if left > 14 * DAY or 0 < left < 12.1 * HOUR else WARNING
    found = f"valid for {left / DAY:.0f} days" if left > 2 * DAY else f"valid for {left / HOUR:.0f} hours"
    return Finding("certificates", state, found, "" if state == OK else renew)


def backup_times(folders: tuple[Path, ...]) -> list[datetime]:
    """Returns when the backups in some folders were made (UTC)."""
    names = [path.name for folder in folders if os.access(folder, os.R_OK) for path in folder.iterdir()]
    found = [re.fullmatch(r"mlflow-(\d{8}T\d{6})Z(\.dump)?", name) for name in names]
    return [datetime.strptime(one[1], "%Y%m%dT%H%M%S").replace(tzinfo=timezone.utc) for one in found if one]  # noqa: UP017


def noted_backup() -> list[datetime]:
    """Returns when the last backup was made, as the database has it, of one in another folder too."""
    try:
        found = re.search(r"last backup: (\d{1,12})", docker("compose", "exec", "-T", "postgres", "bash", "-c", NOTE))
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
        found = None
    return [datetime.fromtimestamp(int(found[1]), timezone.utc)] if found else []  # noqa: UP017


def last_backup() -> Finding:
    """A backup was made within the last day."""
    times = backup_times(BACKUPS) + noted_backup()
    if not times:
        return Finding(
            "last backup", WARNING, "none", "scripts/backup, or the service's timer (deploy/systemd/install)"
        )
    age = time.time() - max(times).timestamp()
    found = f"{age / HOUR:.0f} hours ago" if age < 2 * DAY else f"{age / DAY:.0f} days ago"
    if age > 26 * HOUR:
        return Finding("last backup", WARNING, found, "scripts/backup; systemctl status mlflow-replica-backup.timer")
    return Finding("last backup", OK, found)


def stale_runs() -> Finding:
    """No run has been RUNNING for more than a day: its process has died, or hangs."""
    server = summary.compose_port("edge", 5000)
    try:
        experiments = summary.post(server, "experiments/search", {"max_results": 1000}).get("experiments", [])
    except urllib.error.HTTPError as error:
        if error.code != 401:
            raise
        found = "not looked at: the server wants a login (AUTH=on)"
        return Finding("stale runs", WARNING, found, "MLFLOW_TRACKING_TOKEN=… scripts/doctor, with a token of an admin")
    before = int((time.time() - DAY) * 1000)
    query = {
        "experiment_ids": [str(one["experiment_id"]) for one in experiments],
        "filter": f"attributes.status = 'RUNNING' AND attributes.start_time < {before}",
        "max_results": 100,
    }
    stale = summary.post(server, "runs/search", query).get("runs", []) if experiments else []
    if stale:
        names = ", ".join(str(run["info"]["run_name"]) for run in stale[:3])
        found = f"{len(stale)}{' or more' if len(stale) == 100 else ''} since over a day: {names}"
        return Finding("stale runs", WARNING, found, "end them: MlflowClient().set_terminated(RUN_ID, 'FAILED')")
    return Finding("stale runs", OK, "none")


CHECKS: tuple[Callable[[], Finding], ...] = (
    engine, services, memory, disk, ports, clock, versions, certificates, last_backup, stale_runs,
)  # fmt: skip


def look(check: Callable[[], Finding]) -> Finding:
    """Returns what a check found; one that could not look is an error."""
    name = check.__name__.replace("_", " ")
    try:
        return check()
    except subprocess.CalledProcessError as error:
        lines = error.stderr.strip().splitlines() or [str(error)]
        return Finding(name, ERROR, f"cannot be looked at: {lines[-1]}", "docker compose ps")
    except (OSError, subprocess.TimeoutExpired, ValueError, KeyError) as error:
        return Finding(name, ERROR, f"cannot be looked at: {error}", "docker compose ps")


def table(findings: list[Finding]) -> str:
    """Returns the findings as aligned columns."""
    width = max(len(one.check) for one in findings)
    lines = []
    for one in findings:
        lines.append(f"{one.check:<{width}}  {one.state:<7}  {one.found}")
        if one.remedy:
            lines.append(f"{'':<{width}}           {one.remedy}")
    return "\n".join(lines)


def main() -> None:
    """Prints what all checks found; exits with 1 where one is an error."""
    parser = argparse.ArgumentParser(prog="doctor", description="Looks at the stack and its machine.")
    parser.add_argument("--json", action="store_true", help="a JSON list in the table's place")
    options = parser.parse_args()
    if not shutil.which("docker"):
        sys.exit("doctor: error: Docker is not installed: scripts/ensure-engine does it on Debian")
    findings = [look(check) for check in CHECKS]
    print(json.dumps([asdict(one) for one in findings], indent=2) if options.json else table(findings))
    sys.exit(any(one.state == ERROR for one in findings))


if __name__ == "__main__":
    main()
