"""Generates the accounts' keys, once: `python -m gateway.keys`.

Three folders, because three kinds of readers: /keys/public is the gateway's (it can check a signature and make none),
/keys/server holds the one key that the MLflow server gets, /keys/all is for people and tests. The files are in Google's
format, so that its own library reads them; only the token endpoint's address differs.
"""

import json
import os
from pathlib import Path
from uuid import uuid4

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from gateway.accounts import ACCOUNTS, PROJECT, email


def generate(name: str, token_uri: str) -> tuple[dict[str, str], dict[str, str]]:
    """Returns a new key of an account: the file that its holder gets, and the public part."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    key_id = uuid4().hex
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    holder = {
        "type": "service_account",
        "project_id": PROJECT,
        "private_key_id": key_id,
        "private_key": private,
        "client_email": email(name),
        "client_id": str(uuid4().int)[:21],
        "token_uri": token_uri,
        "universe_domain": "googleapis.com",
    }
    return holder, {"key_id": key_id, "public_key": public}


def write(path: Path, text: str) -> None:
    """Writes a file that others see whole or not at all; readable by all in the containers that mount its volume."""
    new = path.with_suffix(".new")
    new.write_text(text)
    new.chmod(0o444)
    new.replace(path)


def main() -> None:
    """Writes the missing keys, and the key of the account that the server is to use."""
    folder = Path(os.environ.get("KEYS_DIR", "/keys"))
    token_uri = os.environ["TOKEN_URI"]
    chosen = os.environ.get("SERVER_ACCOUNT", "mlflow-server")
    if chosen not in ACCOUNTS:
        raise SystemExit(f"gcs-keys: error: no account is named {chosen}; there are {', '.join(ACCOUNTS)}")
    for name in ACCOUNTS:
        holder_file, public_file = folder / "all" / f"{name}.json", folder / "public" / f"{name}.json"
        if not (holder_file.exists() and public_file.exists()):
            holder, public = generate(name, token_uri)
            write(public_file, json.dumps(public))
            write(holder_file, json.dumps(holder, indent=2))
            print(f"gcs-keys: {email(name)}: key generated")
    write(folder / "server" / "key.json", (folder / "all" / f"{chosen}.json").read_text())
    print(f"gcs-keys: the MLflow server gets the key of {email(chosen)}")


if __name__ == "__main__":
    main()
