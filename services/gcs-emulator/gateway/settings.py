"""The gateway's settings, from the environment."""

import os
from dataclasses import dataclass
from pathlib import Path

from gateway.accounts import WRITER


@dataclass(frozen=True)
class Settings:
    """What the compose file says.

    Attributes:
        store: The address of fake-gcs-server.
        bucket: The bucket to create at start.
        public_keys: The folder with the accounts' public keys.
        token_seconds: How long a token is valid.
        overwrite: The setting ARTIFACT_OVERWRITE, by which the accounts that write artifacts hold their roles.
        attached_account: Whose tokens the metadata service hands out, as on a Google VM; empty: no such service.
    """

    store: str
    bucket: str
    public_keys: Path
    token_seconds: float
    attached_account: str
    overwrite: str = "allow"


def from_environment() -> Settings:
    """Reads the settings; those without a default must be set. Exits with one line when one is wrong."""
    overwrite = os.environ.get("ARTIFACT_OVERWRITE") or "allow"
    if overwrite not in WRITER:
        raise SystemExit(f"gcs: error: ARTIFACT_OVERWRITE is {overwrite}: it can be allow or refuse")
    return Settings(
        store=os.environ["STORE"],
        bucket=os.environ["BUCKET"],
        public_keys=Path(os.environ.get("PUBLIC_KEYS_DIR", "/keys/public")),
        token_seconds=float(os.environ.get("TOKEN_SECONDS", "3600")),
        attached_account=os.environ.get("ATTACHED_ACCOUNT", ""),
        overwrite=overwrite,
    )
