"""The emulator's admin endpoint: faults, roles, tokens and the audit log."""

from __future__ import annotations

import json
from typing import Any

import requests
from gateway.accounts import ACCOUNTS

from ..stack import Stack

DOMAIN = "mlflow-replica.iam.gserviceaccount.com"
SERVER = f"mlflow-server@{DOMAIN}"


class Emulator:
    """The gateway in front of the storage, as its operator sees it."""

    def __init__(self, stack: Stack) -> None:
        self.url = f"http://127.0.0.1:{stack.port('gcs', 4443)}"
        self._admin = f"http://127.0.0.1:{stack.port('gcs', 4444)}"

    def _call(self, method: str, path: str, document: object = None) -> requests.Response:
        answer = requests.request(method, self._admin + path, json=document, timeout=30)
        assert answer.ok, answer.text
        return answer

    def reset(self) -> None:
        """Removes all faults, and gives each account its own roles and tokens of an hour."""
        self._call("DELETE", "/faults")
        self._call("PUT", "/token-seconds", 3600)
        for name in ACCOUNTS:
            self._call("DELETE", f"/accounts/{name}")

    def fault(self, kind: str, **details: object) -> None:
        """Adds a fault for the next matching requests."""
        self._call("POST", "/faults", {"kind": kind, **details})

    def waiting_faults(self) -> list[dict[str, Any]]:
        """Returns the faults that have not hit all their requests."""
        faults: list[dict[str, Any]] = self._call("GET", "/faults").json()
        return faults

    def allow(self, name: str, *permissions: str, roles: tuple[str, ...] = (), project: bool = False) -> None:
        """Gives an account exactly these permissions and roles, on the bucket or in the whole project."""
        self._call("PUT", f"/accounts/{name}", {"permissions": permissions, "roles": roles, "project": project})

    def revoke_key(self, name: str) -> None:
        """Deletes an account's key: it gets no new tokens."""
        self._call("DELETE", f"/accounts/{name}/key")

    def expire_tokens(self) -> int:
        """Ends all tokens; returns how many there were."""
        return int(self._call("POST", "/expire-tokens").json()["expired"])

    def token_seconds(self, seconds: float) -> None:
        """Changes the lifetime of new tokens."""
        self._call("PUT", "/token-seconds", seconds)

    def audit(self, event: str = "access") -> list[dict[str, Any]]:
        """Returns the audit log's entries of one kind."""
        entries = [json.loads(line) for line in self._call("GET", "/audit").text.splitlines()]
        return [entry for entry in entries if entry["event"] == event]

    def clear_audit(self) -> None:
        """Empties the audit log."""
        self._call("DELETE", "/audit")
