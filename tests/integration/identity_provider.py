"""An OpenID Connect provider on this machine, for containers and for the test's own browser."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import oidc_provider_mock  # type: ignore[import-untyped]
import pytest
import requests
from authlib.oidc.core import OpenIDToken  # type: ignore[import-untyped]
from oidc_provider_mock import _app
from werkzeug.serving import make_server

# Seconds for which an ID token is valid: oauth2-proxy trusts it for so long when the provider is away.
VALID = 10


class Refresh(_app.RefreshTokenGrant):  # type: ignore[misc]
    """Gives an ID token with each refresh too, as Keycloak and the like do: it has the groups of now."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        OpenIDToken.__call__(_app.OpenIDCode(False, timedelta(seconds=VALID)), self)


class Provider:
    """The provider's people.

    Args:
        issuer: Its address.
    """

    def __init__(self, issuer: str) -> None:
        self.issuer = issuer

    def put(self, name: str, *groups: str) -> None:
        """Makes a person, or puts them into other groups."""
        claims = {"email": f"{name}@example.org", "groups": list(groups)}
        requests.put(f"{self.issuer}/users/{name}", json=claims, timeout=30).raise_for_status()

    def remove(self, name: str) -> None:
        """Ends what a person was given."""
        requests.post(f"{self.issuer}/users/{name}/revoke-tokens", timeout=30).raise_for_status()


@contextmanager
def running(issuer: str) -> Iterator[Provider]:
    """Runs a provider, which containers and this process reach by the same address, for a `with` block."""
    with pytest.MonkeyPatch.context() as patch:
        # It speaks HTTP, on a network of this machine.
        patch.setenv("AUTHLIB_INSECURE_TRANSPORT", "1")
        patch.setattr(_app, "RefreshTokenGrant", Refresh)
        app = oidc_provider_mock.app(access_token_max_age=timedelta(seconds=VALID))
        # The address is the gateway's of a network that Docker may not have made yet.
        server = make_server("0.0.0.0", urlsplit(issuer).port or 80, app, threaded=True)  # noqa: S104
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield Provider(issuer)
        finally:
            server.shutdown()
            server.server_close()
            thread.join(30)
