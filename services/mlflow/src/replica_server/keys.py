"""The keys that encrypt what MLflow stores, from files that `secrets` has written.

Without them MLflow makes up a key for the webhooks' secrets at each start, so that no later start can read them, and
encrypts the gateway's keys with a passphrase that is public and the same in every installation.
"""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from replica_server.secret_files import read_secret

if TYPE_CHECKING:
    from psycopg2.extensions import connection

FOLDER = Path("/run/secrets/mlflow")
# The variable by which MLflow takes each key, and its file.
FILES = {
    "MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY": "webhook-key",
    "MLFLOW_CRYPTO_KEK_PASSPHRASE": "gateway-passphrase",
    # Signs the sessions and forms of MLflow's own login, if someone starts the server with it.
    "MLFLOW_FLASK_SERVER_SECRET_KEY": "flask-key",
}


def hand_over(folder: Path = FOLDER) -> None:
    """Hands MLflow its keys, by variables of this process alone: MLflow reads one of them while it is imported.

    Exits with status 1 and one line when a key cannot be used: MLflow would fail with a traceback, or go on without it.
    """
    from cryptography.fernet import Fernet

    keys = {variable: read_secret("the key", folder / name) for variable, name in FILES.items()}
    try:
        Fernet(keys["MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY"])
    except ValueError:
        sys.exit(f"error: the key {folder / 'webhook-key'} is no Fernet key (32 bytes in URL-safe base64)")
    os.environ.update(keys)


def warn_of_lost_secrets(connection: "connection") -> None:
    """Says in one line how many webhooks have a secret that this key does not open: MLflow then fails to list any.

    Args:
        connection: A connection to the database, whose schema is this MLflow's.
    """
    from cryptography.fernet import Fernet, InvalidToken

    fernet = Fernet(os.environ["MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY"])
    lost = 0
    with connection.cursor() as cursor:
        cursor.execute("SELECT secret FROM webhooks WHERE secret IS NOT NULL")
        for (secret,) in cursor.fetchall():
            try:
                fernet.decrypt(secret.encode())
            except InvalidToken:
                lost += 1
    if lost:
        print(
            f"mlflow: warning: webhooks whose secret was encrypted with another key: {lost}. No webhook can be listed"
            " until that key is back, or they are removed: see docs/operators/configuration.md, Keys",
            flush=True,
        )
