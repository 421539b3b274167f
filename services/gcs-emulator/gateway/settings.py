"""The gateway's settings, from the environment."""

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Settings:
    """What the compose file says.

    Attributes:
        store: The address of fake-gcs-server.
        bucket: The bucket to create at start.
        public_keys: The folder with the accounts' public keys.
        token_seconds: How long a token is valid.
        attached_account: Whose tokens the metadata service hands out, as on a Google VM; empty: no such service.
    """

    store: str
    bucket: str
    public_keys: Path
    token_seconds: float
    attached_account: str


def from_environment() -> Settings:
    """Reads the settings; those without a default must be set."""
    return Settings(
        store=os.environ["STORE"],
        bucket=os.environ["BUCKET"],
        public_keys=Path(os.environ.get("PUBLIC_KEYS_DIR", "/keys/public")),
        token_seconds=float(os.environ.get("TOKEN_SECONDS", "3600")),
        attached_account=os.environ.get("ATTACHED_ACCOUNT", ""),
    )
