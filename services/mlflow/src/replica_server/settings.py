"""The settings of this package: one frozen dataclass, read from the environment.

A value that cannot be used ends the command with one line that names the setting, before anything else is done.
compose.yaml passes the settings on; docs/operators/configuration.md explains them. Passwords and keys are not here:
they come from files (database.py, keys.py).
"""

import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from replica_server import limits

OVERWRITE = "ARTIFACT_OVERWRITE"
GOOGLE_KEY = "GOOGLE_APPLICATION_CREDENTIALS"
EXTRA_ROUTES = "MLFLOW_EXTRA_ROUTES"
#: The groups of MLflow's routes that can be turned on (requests/routes.py has their paths).
ROUTE_GROUPS = ("gateway", "mcp", "scorers", "webhooks")

#: What MLflow can do and this server does not carry, by the variable that asks for it: values that turn it off are
#: accepted.
NOT_CARRIED = {
    "MLFLOW_ENABLE_WORKSPACES": "this stack has no workspaces",
    "MLFLOW_AUTH_CONFIG_PATH": "this server has people of its own (AUTH=on)",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "this server runs no jobs",
    "MLFLOW_ENABLE_REMOTE_ASSISTANT": "this server has no assistant",
    "_MLFLOW_SERVER_ARTIFACTS_ONLY": "this server tracks runs too",
    "_MLFLOW_SERVER_READ_REPLICA_BACKEND_STORE": "this server has one database",
    "_MLFLOW_STATIC_PREFIX": "this server answers at the root of its address",
    "prometheus_multiproc_dir": "this server has metrics of its own (docs/operators/monitoring.md)",
}
OFF = ("", "false", "0")

AUTH, GUARDED, RECORD_DAYS, SSO_TOKEN_DAYS = "AUTH", "GUARDED_ALIASES", "RECORD_DAYS", "SSO_TOKEN_DAYS"
VERDICT = "REQUIRE_VERDICT"
PUBLIC, ADMIN_HOST = "MLFLOW_PUBLIC_HOSTS", "ADMIN_HOST"


@dataclass(frozen=True)
class Settings:
    """The settings, each with the environment variable that it comes from.

    Attributes:
        direct: ARTIFACT_MODE. Whether clients go to the storage themselves.
        artifact_root: MLFLOW_DEFAULT_ARTIFACT_ROOT. The address under which new experiments keep their artifacts in
            proxied mode.
        overwrite: ARTIFACT_OVERWRITE. Whether an artifact's name can be written again.
        gcs_chunk_size: MLFLOW_GCS_UPLOAD_CHUNK_SIZE. The bytes of a piece of an upload to Cloud Storage.
        storage_timeout: MLFLOW_ARTIFACT_UPLOAD_DOWNLOAD_TIMEOUT. The seconds that a request to Cloud Storage may take.
        public_hosts: MLFLOW_PUBLIC_HOSTS. The names, or patterns, under which the server is called from elsewhere.
        access_log: MLFLOW_ACCESS_LOG. Whether each request is logged.
        metrics: MLFLOW_METRICS. Whether requests are counted, and metrics can be read.
        workers: MLFLOW_WORKERS. How many requests MLflow works on at a time.
        servers: MLFLOW_SERVERS. How many servers there are, of which this is one.
        drain: MLFLOW_DRAIN. For how many seconds a server that ends takes requests, until the balancer has noticed.
        largest_body: MLFLOW_MAX_BODY. The most bytes that a request may bring.
        extra_routes: MLFLOW_EXTRA_ROUTES. The groups of MLflow's routes that are on beside those that tracking needs.
        auth: AUTH. Whether every request needs a person with a role (people/).
        admin_host: ADMIN_HOST. The one of the public hosts where MLflow's admin page may change people; empty: none.
        guarded_aliases: GUARDED_ALIASES. The aliases that only release and admin move.
        require_verdict: REQUIRE_VERDICT. Whether they move only to versions that satisfied the policy.
        sso_token_days: SSO_TOKEN_DAYS. For how long tokens go on of people whom single sign-on has not seen since.
        record_days: RECORD_DAYS. How many days the record of changes is kept.
        password_file: POSTGRES_PASSWORD_FILE. The file with the database's password.
        google_key_file: GOOGLE_APPLICATION_CREDENTIALS. The key file of a service account; empty: the account attached
            to the machine.
        gcs_bucket: GCS_BUCKET. The bucket that `preflight` checks.
        gcs_prefix: GCS_PREFIX. The folder in the bucket that holds the artifacts.
        gcs_emulator: STORAGE_EMULATOR_HOST. The emulator's address that Google's client would use without an account.
    """

    direct: bool
    artifact_root: str
    overwrite: bool
    gcs_chunk_size: int
    storage_timeout: int
    public_hosts: tuple[str, ...]
    access_log: bool
    metrics: bool
    workers: int
    servers: int
    drain: int
    largest_body: int
    extra_routes: frozenset[str]
    auth: bool
    admin_host: str
    guarded_aliases: frozenset[str]
    require_verdict: bool
    sso_token_days: int
    record_days: int
    password_file: Path
    google_key_file: str
    gcs_bucket: str
    gcs_prefix: str
    gcs_emulator: str

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> "Settings":
        """Returns the settings in an environment; exits with status 1 and one line at a value that cannot be used."""
        for name, why in NOT_CARRIED.items():
            if environment.get(name, "").lower() not in OFF:
                _refuse(f"{name} is set, and {why}: unset it")
        _check_tls(environment)
        return cls(
            direct=_choice(environment, "ARTIFACT_MODE", "proxied", "direct"),
            artifact_root=environment.get("MLFLOW_DEFAULT_ARTIFACT_ROOT") or "mlflow-artifacts:/",
            overwrite=not _choice(environment, OVERWRITE, "allow", "refuse"),
            gcs_chunk_size=_multiple(environment, "MLFLOW_GCS_UPLOAD_CHUNK_SIZE", 2**24, 2**18),
            storage_timeout=_multiple(environment, "MLFLOW_ARTIFACT_UPLOAD_DOWNLOAD_TIMEOUT", 300, 1),
            public_hosts=_hosts(environment, PUBLIC),
            access_log=_switch(environment, "MLFLOW_ACCESS_LOG", "false"),
            metrics=_switch(environment, "MLFLOW_METRICS", "true"),
            workers=_number(environment, limits.WORKERS_SETTING, limits.WORKERS, 64),
            servers=_number(environment, limits.SERVERS_SETTING, 1, limits.MOST_SERVERS),
            drain=_number(environment, "MLFLOW_DRAIN", 0, 60, least=0),
            largest_body=_number(environment, limits.BODY_SETTING, limits.LARGEST_BODY, 2**28),
            extra_routes=_groups(environment),
            auth=_choice(environment, AUTH, "off", "on"),
            admin_host=_admin_host(environment),
            guarded_aliases=_aliases(environment),
            require_verdict=_verdict(environment),
            sso_token_days=_number(environment, SSO_TOKEN_DAYS, limits.MOST_TOKEN_DAYS, limits.MOST_TOKEN_DAYS),
            record_days=_days(environment),
            password_file=Path(environment.get("POSTGRES_PASSWORD_FILE") or "/run/secrets/postgres/password"),
            google_key_file=environment.get(GOOGLE_KEY, ""),
            gcs_bucket=environment.get("GCS_BUCKET", ""),
            gcs_prefix=environment.get("GCS_PREFIX", ""),
            gcs_emulator=environment.get("STORAGE_EMULATOR_HOST", ""),
        )


@cache
def current() -> Settings:
    """Returns this process's settings, which are read once."""
    return Settings.read(os.environ)


def _refuse(reason: str) -> None:
    sys.exit(f"error: {reason}")


def _choice(environment: Mapping[str, str], name: str, usual: str, other: str) -> bool:
    """Returns whether a setting of two values is the other one."""
    value = environment.get(name) or usual
    if value not in (usual, other):
        _refuse(f"{name} is {value}: it can be {usual} or {other}")
    return value == other


def _switch(environment: Mapping[str, str], name: str, default: str) -> bool:
    value = environment.get(name) or default
    if value not in ("true", "false"):
        _refuse(f"{name} is {value}: it can be true or false")
    return value == "true"


def _number(environment: Mapping[str, str], name: str, default: int, most: int, least: int = 1) -> int:
    value = environment.get(name) or str(default)
    if not re.fullmatch("0|[1-9][0-9]{0,9}", value) or not least <= int(value) <= most:
        _refuse(f"{name} is {value}: it has to be a whole number from {least} to {most}")
    return int(value)


def _multiple(environment: Mapping[str, str], name: str, default: int, unit: int) -> int:
    value = environment.get(name, str(default))
    if not re.fullmatch("[1-9][0-9]*", value) or int(value) % unit:
        what = f"a multiple of {unit} bytes (256 KiB)" if unit > 1 else "a whole number of seconds"
        _refuse(f"{name} is {value}: it has to be {what}")
    return int(value)


def _names(environment: Mapping[str, str], name: str) -> list[str]:
    return [part.strip() for part in environment.get(name, "").split(",") if part.strip()]


def _hosts(environment: Mapping[str, str], name: str) -> tuple[str, ...]:
    hosts = _names(environment, name)
    for host in hosts:
        if not re.fullmatch(r"[\w*.-]+(:[0-9]+)?|\[[0-9a-fA-F:.]+\](:[0-9]+)?", host):
            _refuse(f'{name}: "{host}" is no host name (mlflow.example.org is one)')
        # 10.* would match 10.evil.example, a name that anyone can have.
        if not re.fullmatch(r"(\*\.)?[^*]+", host):
            known = "a * stands for the first part of a name only (*.example.org)"
            _refuse(f'{name}: "{host}" matches names of others: {known}')
    return tuple(hosts)


def _admin_host(environment: Mapping[str, str]) -> str:
    host = environment.get(ADMIN_HOST, "").strip().lower()
    if not host:
        return ""
    if not _choice(environment, AUTH, "off", "on"):
        _refuse(f"{ADMIN_HOST} is {host}, and {AUTH} is off: there are people with {AUTH}=on only")
    names = {public.partition(":")[0].lower() for public in _hosts(environment, PUBLIC)}
    # Everything else is at another name: here it is not answered.
    if host not in names or len(names) == 1:
        _refuse(f"{ADMIN_HOST} is {host}: it has to be one of several names in {PUBLIC}, the page's own")
    return host


def _groups(environment: Mapping[str, str]) -> frozenset[str]:
    names = frozenset(_names(environment, EXTRA_ROUTES))
    if unknown := sorted(names - set(ROUTE_GROUPS)):
        _refuse(f"{EXTRA_ROUTES}: there is no group {unknown[0]}; there are {', '.join(ROUTE_GROUPS)}")
    return names


def _aliases(environment: Mapping[str, str]) -> frozenset[str]:
    names = frozenset(_names(environment, GUARDED)) if environment.get(GUARDED) else frozenset({"champion"})
    for name in names:
        if not re.fullmatch(r"[\w-]{1,255}", name):
            _refuse(f'{GUARDED}: "{name}" is no alias (champion is one)')
    return names


def _verdict(environment: Mapping[str, str]) -> bool:
    required = _choice(environment, VERDICT, "off", "on")
    if required and not _choice(environment, AUTH, "off", "on"):
        _refuse(f"{VERDICT} is on, and {AUTH} is off: aliases are guarded with {AUTH}=on only")
    return required


def _days(environment: Mapping[str, str]) -> int:
    days = _number(environment, RECORD_DAYS, 365, 36_500)
    if days < limits.LEAST_RECORD_DAYS:
        _refuse(f"{RECORD_DAYS} is {days}: the record is kept for {limits.LEAST_RECORD_DAYS} days at least")
    return days


def _check_tls(environment: Mapping[str, str]) -> None:
    """Refuses an external database without a checked certificate: `require` encrypts, but to whoever answers."""
    mode = environment.get("PGSSLMODE", "")
    if environment.get("POSTGRES_TLS_REQUIRED") == "true" and mode not in ("verify-ca", "verify-full"):
        _refuse(f"an external database needs POSTGRES_SSLMODE verify-ca or verify-full, not {mode or 'none'}")
