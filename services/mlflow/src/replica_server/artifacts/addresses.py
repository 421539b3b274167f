"""Which storage addresses this server serves: its own storage's.

A client names addresses when it creates an experiment and when it registers a model. Stock MLflow accepts any: what is
written to a folder of the server's container is lost, and another storage's client waits for minutes while it looks for
credentials. Here a foreign address is refused when it is named, and one that is in the database already is refused
before anything connects to it.
"""

from urllib.parse import SplitResult, unquote, urlsplit

from mlflow.exceptions import MlflowException

from replica_server.artifacts import names

PROXIED = "mlflow-artifacts"
# They lead to a run or a model of this server, whose own address is looked at in its turn.
INDIRECT = ("runs", "models")
# The route of proxied artifacts, in an address of MLflow's that names a server.
ROUTE = "/api/2.0/mlflow-artifacts/artifacts/"


def _parsed(uri: str) -> SplitResult | None:
    try:
        return urlsplit(uri) if uri == uri.strip() else None
    except ValueError:
        return None


def _is_folder(path: str) -> bool:
    """Tells whether a path leads downwards only, however often it is percent-encoded."""
    while (decoded := unquote(path)) != path:
        path = decoded
    return not path.strip("/") or not names.fault(path.removeprefix("/").removesuffix("/"))


def translated(uri: str, destination: str) -> str:
    """Returns where in the storage a proxied address leads."""
    return f"{destination.rstrip('/')}/{urlsplit(uri).path.strip('/')}".rstrip("/")


class Storage:
    """The server's storage.

    Args:
        destination: Its address.
        direct: Whether clients go to it themselves, and so may name it.
    """

    def __init__(self, destination: str, direct: bool) -> None:
        self.destination = destination.rstrip("/")
        self.direct = direct
        self._own = urlsplit(self.destination)

    def is_proxied(self, uri: str) -> bool:
        """Tells whether an address is one that the server translates to its storage's."""
        parts = _parsed(uri)
        return parts is not None and parts.scheme == PROXIED and not parts.netloc and _is_folder(parts.path)

    def holds(self, uri: str) -> bool:
        """Tells whether an address is in the storage itself."""
        parts = _parsed(uri)
        if parts is None or (parts.scheme, parts.netloc) != (self._own.scheme, self._own.netloc):
            return False
        return f"{parts.path}/".startswith(f"{self._own.path}/") and _is_folder(parts.path)

    def _refuse(self, what: str, uri: str) -> None:
        places = f"{PROXIED}:/" + (f" and {self.destination}" if self.direct else "")
        # A user's name and password may stand before the host.
        shown = " ".join(uri.rpartition("@")[2].split())[:200]
        raise MlflowException.invalid_parameter_value(f"{what} {shown} is not in this server's storage, {places}")

    def check_location(self, uri: str, field: str) -> None:
        """Refuses a place for artifacts that a client names; raises MlflowException with status 400."""
        if not self.is_proxied(uri) and not (self.direct and self.holds(uri)):
            self._refuse(f"{field}:", uri)

    def check_source(self, uri: str, field: str) -> None:
        """Refuses where a registered model is said to come from; raises MlflowException with status 400."""
        parts = _parsed(uri)
        if not self.is_proxied(uri) and not self.holds(uri) and (parts is None or parts.scheme not in INDIRECT):
            self._refuse(f"{field}:", uri)

    def check_stored(self, uri: str) -> None:
        """Refuses an address before a client of its storage is made; raises MlflowException with status 400."""
        parts = _parsed(uri)
        if not self.is_proxied(uri) and not self.holds(uri) and (parts is None or parts.scheme not in INDIRECT):
            self._refuse("The artifacts' address", uri)

    def check_root(self, uri: str) -> None:
        """Refuses an address that MLflow takes for proxied, where its path leads elsewhere; status 400."""
        parts = _parsed(uri)
        if parts is None or (parts.scheme != PROXIED and ROUTE not in parts.path) or not _is_folder(parts.path):
            self._refuse("The artifacts' address", uri)
