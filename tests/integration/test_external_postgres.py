"""An external PostgreSQL takes the composed one's place: over TLS with its certificate checked, or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from .certificates import make_certificate
from .next_version import NEXT, own_images, upgrade, versions
from .stack import ROOT, Stack, StackError
from .test_backup import run, run_names
from .test_lifecycle import store_something
from .test_version import VERSION

HOST = "database.example"
OVERRIDE = ROOT / "compose.external-postgres.yaml"


@pytest.fixture
def external(new_stack: Any, tmp_path: Path) -> Iterator[Stack]:
    """A stack that uses a database server with TLS, which runs beside it as another service."""
    make_certificate(tmp_path / "tls", HOST)
    settings = {"POSTGRES_HOST": HOST, "POSTGRES_CA_FILE": str(tmp_path / "tls" / "server.crt")}
    # The server wants its key to be its own: a copy, in memory.
    start = (
        "cp /tls/server.key /tmp/server.key && chmod 600 /tmp/server.key && exec docker-entrypoint.sh postgres"
        " -c listen_addresses=* -c ssl=on -c ssl_cert_file=/tls/server.crt -c ssl_key_file=/tmp/server.key"
    )
    database = {
        "image": "${IMAGE_PREFIX:-mlflow-replica}-postgres:${IMAGE_TAG:-local}",
        "entrypoint": ["bash", "-c", start],
        "environment": {
            "POSTGRES_USER": "mlflow",
            "POSTGRES_DB": "mlflow",
            "POSTGRES_PASSWORD_FILE": "/run/secrets/postgres/password",
        },
        "depends_on": {"secrets": {"condition": "service_completed_successfully"}},
        # The composed one's volume, which nobody uses then: a server elsewhere keeps its data when a stack is upgraded.
        "volumes": [
            "postgres-secret:/run/secrets/postgres:ro",
            f"{tmp_path / 'tls'}:/tls:ro",
            "postgres-data:/var/lib/postgresql/data",
        ],
        "networks": {"database": {"aliases": [HOST]}},
    }
    with new_stack(settings=settings, override={"services": {"cloud-sql": database}}) as stack:
        stack.files.insert(-1, OVERRIDE)
        (stack.secrets / "postgres-password").write_text("from a file")
        (stack.secrets / "postgres-password").chmod(0o644)
        yield stack


def test_external_database_is_used_over_tls(external: Stack, tmp_path: Path) -> None:
    """External database is used over TLS and the composed one is not started."""
    external.up()
    assert "postgres" not in external.compose("ps", "--all", "--services").stdout.split()
    (used,) = external.sql("SELECT ssl, inet_server_addr() IS NOT NULL FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
    assert used == [True, True]
    client = MlflowClient(external.url)
    run_id = client.create_run("0").info.run_id
    client.log_text(run_id, "text", "note.txt")
    assert Path(client.download_artifacts(run_id, "note.txt", str(tmp_path))).read_text() == "text"


def test_external_database_is_backed_up(external: Stack, tmp_path: Path) -> None:
    """Backup and restoration reach a database that this stack does not run."""
    external.up()
    assert_stored = store_something(external, "backed up")
    folder = tmp_path / "backups"
    folder.mkdir()
    done = run("backup", external, folder)
    assert done.returncode == 0, done.stderr
    store_something(external, "later")
    done = run("restore", external, folder)
    assert done.returncode == 0, done.stderr
    assert_stored()
    assert run_names(external) == {"backed up"}
    assert len(list(folder.glob("*.replaced-*"))) == 1


def test_external_database_is_upgraded(external: Stack, clone: Path) -> None:
    """An upgrade with a database elsewhere keeps what there is, and goes back to what there was, by a backup of it."""
    with own_images(external):
        external.up()
        assert_stored = store_something(external, "before the upgrade")
        code, said = upgrade(clone, external, NEXT)
        assert code == 0, said
        assert versions(external) == {NEXT}
        assert_stored()
        store_something(external, "since the upgrade")
        code, said = upgrade(clone, external, "--back")
        assert code == 0, said
        assert versions(external) == {VERSION}
        assert_stored()
        assert "since the upgrade" not in run_names(external)


def test_database_of_another_authority_is_refused(external: Stack, tmp_path: Path) -> None:
    """Database whose certificate another authority signed is refused."""
    make_certificate(tmp_path / "other", HOST)
    external.compose("up", "--detach", "cloud-sql")
    other = {"POSTGRES_CA_FILE": str(tmp_path / "other" / "server.crt")}
    done = external.compose("run", "--rm", "--no-deps", "-T", "migrate", check=False, settings=other)
    assert done.returncode == 1
    assert "certificate verify failed" in done.stderr


@pytest.mark.parametrize("mode", ["disable", "prefer", "require"])
def test_less_than_a_checked_certificate_is_one_line(external: Stack, mode: str) -> None:
    settings = {"POSTGRES_SSLMODE": mode}
    external.compose("up", "secrets")
    done = external.compose("run", "--rm", "--no-deps", "-T", "migrate", check=False, settings=settings)
    assert done.returncode == 1
    assert f"an external database needs POSTGRES_SSLMODE verify-ca or verify-full, not {mode}" in done.stderr


def test_missing_settings_are_named(external: Stack) -> None:
    for name in ("POSTGRES_HOST", "POSTGRES_CA_FILE"):
        with pytest.raises(StackError, match=name):
            external.compose("config", "--quiet", settings={name: ""})
