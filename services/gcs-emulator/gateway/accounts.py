"""The service accounts of the emulator: who they are, which roles they hold and where, and their public keys."""

import json
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from gateway import roles

PROJECT = "mlflow-replica"

# What those that write artifacts hold, by the setting ARTIFACT_OVERWRITE, as deploy/gcp/provision grants it.
WRITER = {
    "allow": ("roles/storage.objectUser",),
    "refuse": ("roles/storage.objectCreator", "roles/storage.objectViewer"),
}
# The name before the @, and the roles that it holds on the bucket. The last four are there to rehearse a set-up that
# went wrong; write-once holds what is right where no name is written again.
ACCOUNTS: dict[str, tuple[str, ...]] = {
    "mlflow-server": WRITER["allow"],
    "mlflow-client": WRITER["allow"],
    "mlflow-gc": ("roles/storage.objectUser",),
    "mlflow-admin": ("roles/storage.admin",),
    "write-once": WRITER["refuse"],
    "only-creator": ("roles/storage.objectCreator",),
    "only-viewer": ("roles/storage.objectViewer",),
    "no-roles": (),
}

# Those whose roles follow the setting.
WRITERS = {"mlflow-server", "mlflow-client"}
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
    #: The roles that it holds unless they are changed.
    granted: tuple[str, ...]
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
        """Gives the account its own roles, and its key, again."""
        self.permissions = roles.of_roles(self.granted)
        self.project = self.name in PROJECT_WIDE
        self.revoked = False

    def permissions_on(self, bucket: str) -> frozenset[str]:
        """Returns what the account may do with a bucket; empty: in the project."""
        return self.permissions if self.project or bucket == self.bucket else frozenset()


def load(folder: Path, bucket: str, overwrite: str = "allow") -> dict[str, Account]:
    """Reads the public keys that `gateway.keys` wrote; returns the accounts by their address.

    Args:
        folder: Where the keys are.
        bucket: On which bucket they hold their roles.
        overwrite: The setting ARTIFACT_OVERWRITE: allow or refuse.
    """
    accounts = {}
    for name in ACCOUNTS:
        document = json.loads((folder / f"{name}.json").read_text())
        key = load_pem_public_key(document["public_key"].encode())
        if not isinstance(key, RSAPublicKey):
            raise TypeError(f"{name}: not an RSA key")
        granted = WRITER[overwrite] if name in WRITERS else ACCOUNTS[name]
        account = Account(name, document["key_id"], key, bucket, granted)
        account.reset()
        accounts[account.email] = account
    return accounts
