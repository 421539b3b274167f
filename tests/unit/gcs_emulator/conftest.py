"""Fixtures of the gateway's unit tests: accounts with real keys, and assertions signed with them."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from gateway.accounts import WRITER, Account, email

NOW = 1_800_000_000.0


@pytest.fixture(scope="session")
def key() -> RSAPrivateKey:
    return generate_private_key(public_exponent=65537, key_size=2048)


@pytest.fixture
def accounts(key: RSAPrivateKey) -> dict[str, Account]:
    account = Account("mlflow-server", "key-1", key.public_key(), "bucket", WRITER["allow"])
    account.reset()
    return {account.email: account}


def encoded(part: bytes) -> str:
    return base64.urlsafe_b64encode(part).rstrip(b"=").decode()


@pytest.fixture
def sign(key: RSAPrivateKey) -> Callable[..., str]:
    """Signs an assertion which is right but for what a test changes."""

    def signed(*, header: dict[str, object] | None = None, signer: RSAPrivateKey = key, **claims: object) -> str:
        head = {"alg": "RS256", "typ": "JWT", "kid": "key-1"} | (header or {})
        body = {
            "iss": email("mlflow-server"),
            "aud": "https://oauth2.googleapis.com/token",
            "scope": "https://www.googleapis.com/auth/devstorage.read_write",
            "iat": NOW,
            "exp": NOW + 3600,
        } | claims
        text = f"{encoded(json.dumps(head).encode())}.{encoded(json.dumps(body).encode())}"
        return f"{text}.{encoded(signer.sign(text.encode(), PKCS1v15(), SHA256()))}"

    return signed
