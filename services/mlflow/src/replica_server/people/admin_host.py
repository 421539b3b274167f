"""The host of MLflow's admin page (ADMIN_HOST): where a page in a browser may change people's roles and grants.

A browser lets pages of one address do there what its user may. MLflow's UI makes documents of what others have stored:
an SVG picture, opened in a tab of its own, runs its script with the server's address, and what the script sends looks
like what the UI sends. So the admin page has a host of its own, at which nothing is answered that others have stored
but the names of experiments and models. A browser keeps what it shows of other hosts away from there.
"""

import re
from urllib.parse import urlsplit

from starlette.types import Message, Scope, Send

from replica_server.people.identity import forbidden
from replica_server.requests import routes

# What is answered at that host: MLflow's UI itself, people, and what there are grants for.
ANSWERED = re.compile(
    r"/|/static-files/.*|"
    rf"{routes.API}/mlflow/(?:(?:users|roles)/.+|(?:experiments|registered-models)/search|server-info|ui-telemetry)|"
    + "|".join(routes.READ_BY_THE_UI),
    re.DOTALL,
)
# Nor does a name or description make a script there, whatever the UI takes it for: its own files alone are scripts.
POLICY = b"script-src 'self'; object-src 'none'; base-uri 'none'"
CHANGES = "A page in a browser may not change users, roles and grants here"
ELSEWHERE = "docker compose exec proxy user does, or a program with an administrator's token"


class AdminHost:
    """The host.

    Args:
        name: Its name, without a port, as in MLFLOW_PUBLIC_HOSTS; empty: there is none.
    """

    def __init__(self, name: str) -> None:
        self.name = name.lower()

    @property
    def refusal(self) -> str:
        """Why a page's change is refused, and what to do."""
        return f"{CHANGES}: {f'the one at {self.name} may' if self.name else ELSEWHERE}"

    def check(self, scope: Scope) -> None:
        """Refuses what is not answered at this host; raises MlflowException with status 403."""
        if self._is_asked(scope) and not ANSWERED.fullmatch(scope["path"]):
            raise forbidden(f"{self.name} is for users, roles and grants alone (ADMIN_HOST)")

    def sending(self, scope: Scope, send: Send) -> Send:
        """Returns what sends an answer: at this host, with the policy by which a browser runs only the UI's scripts."""
        if not self._is_asked(scope):
            return send

        async def with_policy(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"content-security-policy", POLICY)]
            await send(message)

        return with_policy

    def is_own_page(self, scope: Scope) -> bool:
        """Tells whether a page at this host sends a request, by its script, as the browser says."""
        headers = dict(scope["headers"])
        return (
            self._is_asked(scope)
            and headers.get(b"sec-fetch-site") == b"same-origin"
            # Not what a form sends: that can be a page without a script.
            and headers.get(b"sec-fetch-dest") == b"empty"
            and headers.get(b"origin") in (b"https://" + headers[b"host"], b"http://" + headers[b"host"])
        )

    def _is_asked(self, scope: Scope) -> bool:
        # Mostly there is none, and each request is asked this.
        if not self.name:
            return False
        asked = dict(scope["headers"]).get(b"host", b"").decode("latin-1")
        try:
            return urlsplit(f"//{asked}").hostname == self.name
        except ValueError:
            return False
