"""A stack's people: one of each role, with a password and a token."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests
from mlflow import MlflowClient

from .stack import STORAGE, Stack

# The settings of a stack where every request needs a person; they come by the proxy.
AUTH_ON = {"COMPOSE_PROFILES": f"{STORAGE},https", "AUTH": "on"}
# A person of each role, and the password of all.
PEOPLE = {"vera": "viewer", "mia": "member", "ron": "release", "ada": "admin"}
PASSWORD = "correct horse battery"


def user(stack: Stack, *args: str, password: str = "") -> str:
    """Runs `user` in the proxy's container and returns what it prints."""
    run = stack.read if args == ("list",) else stack.exec
    return run("proxy", "bash", "-c", 'user "$@" <<<"$0"', password, *args).strip()


def basic(name: str, password: str) -> str:
    """Returns the header Authorization of a login."""
    return f"Basic {base64.b64encode(f'{name}:{password}'.encode()).decode()}"


def authority_of(stack: Stack, folder: Path) -> str:
    """Writes the certificate of the proxy's authority into a folder, and returns the file."""
    file = folder / "root.crt"
    file.write_text(stack.read("proxy", "cat", "/data/caddy/pki/authorities/local/root.crt"))
    return str(file)


class Persons:
    """A stack with AUTH=on, and the tokens of its people, whom it makes."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        # These are all: not the first administrator, whom the stack makes.
        user(stack, "first-admin")
        user(stack, "remove", "admin")
        for name, role in PEOPLE.items():
            user(stack, "add", name, "--role", role, password=PASSWORD)
        self.tokens = {name: user(stack, "token", "add", name, "--name", "test") for name in PEOPLE}

    def ask(self, name: str, method: str, path: str, at: str = "", **options: Any) -> requests.Response:
        """Sends a request as a person, or as nobody, where the stack is published inside, or at another address."""
        headers = {"Authorization": f"Bearer {self.tokens[name]}"} if name else {}
        headers |= options.pop("headers", {})
        return requests.request(method, (at or self.stack.url) + path, headers=headers, timeout=60, **options)

    @contextmanager
    def client(self, name: str) -> Iterator[MlflowClient]:
        """MLflow's client with a person's token."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("MLFLOW_TRACKING_TOKEN", self.tokens[name])
            patch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
            yield MlflowClient(self.stack.url)
