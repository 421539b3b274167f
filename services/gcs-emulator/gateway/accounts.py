"""The service accounts of the emulator: who they are, which roles they hold and where, and their public keys."""

import json
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from gateway import roles

PROJECT = "mlflow-replica"

# The name before the @, and the roles that it holds on the bucket. The last three are there to rehearse a set-up that
# went wrong.
ACCOUNTS: dict[str, tuple[str, ...]] = {
    "mlflow-server": ("roles/storage.objectCreator", "roles/storage.objectViewer"),
    "mlflow-client": ("roles/storage.objectCreator", "roles/storage.objectViewer"),
    "mlflow-gc": ("roles/storage.objectUser",),
    "mlflow-admin": ("roles/storage.admin",),
    "only-creator": ("roles/storage.objectCreator",),
    "only-viewer": ("roles/storage.objectViewer",),
    "no-roles": (),
}

# Those whose roles are granted on the project: on each bucket, and to list and create buckets.
PROJECT_WIDE = {"mlflow-admin"}


def email(name: str) -> str:
    """Returns the account's address."""
    return f"{name}@{PROJECT}.iam.gserviceaccount.com"


@dataclass
class Account:
    """A service account as the gateway knows it: it holds no private key."""

    name: str
    key_id: str
    key: RSAPublicKey
    bucket: str
    permissions: frozenset[str] = field(default_factory=frozenset)
    #: The permissions are held in the whole project, else on the one bucket.
    project: bool = False
    #: The key was deleted: no token is issued for it any more. (Those that were live on.)
    revoked: bool = False

    @property
    def email(self) -> str:
        """The account's address."""
        return email(self.name)

    def reset(self) -> None:
        """Gives the account the roles of the table, and its key, again."""
        self.permissions = roles.of_roles(ACCOUNTS[self.name])
        self.project = self.name in PROJECT_WIDE
        self.revoked = False

    def permissions_on(self, bucket: str) -> frozenset[str]:
        """Returns what the account may do with a bucket; empty: in the project."""
        return self.permissions if self.project or bucket == self.bucket else frozenset()


def load(folder: Path, bucket: str) -> dict[str, Account]:
    """Reads the public keys that `gateway.keys` wrote; returns the accounts by their address.

    Args:
        folder: Where the keys are.
        bucket: On which bucket they hold their roles.
    """
    accounts = {}
    for name in ACCOUNTS:
        document = json.loads((folder / f"{name}.json").read_text())
        key = load_pem_public_key(document["public_key"].encode())
        if not isinstance(key, RSAPublicKey):
            raise TypeError(f"{name}: not an RSA key")
        account = Account(name, document["key_id"], key, bucket)
        account.reset()
        accounts[account.email] = account
    return accounts
