"""services/mlflow: keys: MLflow's keys come from files, or the server does not start."""

import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet
from mlflow import environment_variables as variables
from mlflow.utils import crypto
from replica_server import keys


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for variable, name in keys.FILES.items():
        # So that the fixture puts back what the test's process had.
        monkeypatch.setenv(variable, "")
        (tmp_path / name).write_text(f"{name} of this stack\n")
    (tmp_path / "webhook-key").write_text(Fernet.generate_key().decode() + "\n")
    return tmp_path


def test_keys_are_handed_to_mlflow_by_its_names(folder: Path) -> None:
    keys.hand_over(folder)
    assert (
        os.environ[variables.MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY.name] == (folder / "webhook-key").read_text().strip()
    )
    assert os.environ[variables.MLFLOW_FLASK_SERVER_SECRET_KEY.name] == "flask-key of this stack"
    assert os.environ[crypto.CRYPTO_KEK_PASSPHRASE_ENV_VAR] == "gateway-passphrase of this stack"
    assert crypto.KEKManager().using_default_passphrase is False


@pytest.mark.parametrize("name", keys.FILES.values())
@pytest.mark.parametrize("content", [None, "", "\n"])
def test_missing_or_empty_key_is_one_line(folder: Path, name: str, content: str | None) -> None:
    (folder / name).unlink()
    if content is not None:
        (folder / name).write_text(content)
    with pytest.raises(SystemExit) as stopped:
        keys.hand_over(folder)
    what = "cannot be read: No such file or directory" if content is None else "is empty"
    assert stopped.value.code == f"error: the key {folder / name} {what}"


def test_wrong_webhook_key_is_one_line(folder: Path) -> None:
    """Webhook key of another kind is one line without it."""
    (folder / "webhook-key").write_text("hunter2\n")
    with pytest.raises(SystemExit) as stopped:
        keys.hand_over(folder)
    message = str(stopped.value)
    assert message.startswith(f"error: the key {folder / 'webhook-key'} is no Fernet key")
    assert "hunter2" not in message
    assert "\n" not in message


class Cursor(sqlite3.Cursor):
    """SQLite's cursor, which ends as psycopg2's does."""

    def __enter__(self) -> "Cursor":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Connection(sqlite3.Connection):
    """A database whose cursors are of that kind."""

    def cursor(self, *_: Any, **__: Any) -> Any:
        """Returns such a cursor."""
        return Cursor(self)


@pytest.mark.parametrize("lost", [0, 2])
def test_secrets_under_another_key_are_told(folder: Path, lost: int, capsys: pytest.CaptureFixture[str]) -> None:
    keys.hand_over(folder)
    own, former = Fernet(os.environ[variables.MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY.name]), Fernet(Fernet.generate_key())
    secrets = [None, own.encrypt(b"kept").decode(), *(former.encrypt(b"lost").decode() for _ in range(lost))]
    with closing(sqlite3.connect(":memory:", factory=Connection)) as database:
        database.execute("CREATE TABLE webhooks (secret TEXT)")
        database.executemany("INSERT INTO webhooks VALUES (?)", [(secret,) for secret in secrets])
        keys.warn_of_lost_secrets(database)  # type: ignore[arg-type]
    said = capsys.readouterr().out
    assert (
        said.startswith("mlflow: warning: webhooks whose secret was encrypted with another key: 2.")
        if lost
        else said == ""
    )
    assert said.count("\n") == (1 if lost else 0)
