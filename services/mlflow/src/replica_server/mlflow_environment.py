"""The environment variables by which MLflow is told what it is, and this server's settings.

The names are MLflow's own constants: a version that renames one fails here at the import, not later and silently.
"""

import uuid
from collections.abc import MutableMapping

from replica_server import database, limits
from replica_server.settings import NOT_CARRIED, Settings


def allowed_hosts(public: tuple[str, ...]) -> str:
    """Returns the Host headers to accept, comma-separated: this service's name, loopback, and the public hosts.

    Each name is accepted with and without a port.
    """
    names = ["mlflow", "localhost", "127.0.0.1", "0.0.0.0", "[[]::1]", *public]  # noqa: S104 - a name of loopback
    return ",".join(pattern for name in names for pattern in (name.replace("[[]", "["), f"{name}:*"))


def allowed_origins(public: tuple[str, ...]) -> str:
    """Returns the Origin headers to accept beside loopback's, comma-separated: the UI's own, under each public host.

    MLflow compares with this list and not with the Host header. The UI's searches and changes carry the header, so
    that without it the UI would show nothing under a public name.
    """
    addresses = [f"{scheme}://{name}" for name in public for scheme in ("https", "http")]
    return ",".join(pattern for address in addresses for pattern in (address, f"{address}:*"))


def artifact_root(settings: Settings, destination: str) -> str:
    """Returns where new experiments keep artifacts: at the server's address (proxied), or the storage's (direct)."""
    return destination.rstrip("/") if settings.direct else settings.artifact_root


def of_server(settings: Settings, destination: str) -> dict[str, str]:
    """Returns what `mlflow server --backend-store-uri … --serve-artifacts --artifacts-destination …` would set."""
    from mlflow import environment_variables as variables
    from mlflow.server import constants

    return {
        # By these two MLflow knows that it is the server: it runs no code of a scorer that a client has stored.
        variables._MLFLOW_SERVER_BOOT_ID.name: uuid.uuid4().hex,
        variables._MLFLOW_IN_JOB_EXECUTOR.name: "false",
        constants.BACKEND_STORE_URI_ENV_VAR: database.URI,
        constants.ARTIFACT_ROOT_ENV_VAR: artifact_root(settings, destination),
        constants.SERVE_ARTIFACTS_ENV_VAR: "true",
        constants.ARTIFACTS_DESTINATION_ENV_VAR: destination,
    }


def of_settings(settings: Settings) -> dict[str, str]:
    """Returns MLflow's own settings, as this server's say."""
    hosts = {"MLFLOW_SERVER_ALLOWED_HOSTS": allowed_hosts(settings.public_hosts)}
    if origins := allowed_origins(settings.public_hosts):
        hosts["MLFLOW_SERVER_CORS_ALLOWED_ORIGINS"] = origins
    # The UI offers what the server says that it has.
    gateway = {"MLFLOW_ENABLE_AI_GATEWAY": str("gateway" in settings.extra_routes).lower()}
    return hosts | gateway | limits.environment(settings.workers)


def prepare(environment: MutableMapping[str, str], settings: Settings, destination: str) -> None:
    """Puts all of it into an environment, and takes empty variables out: MLflow does not take those for turned off."""
    for name in NOT_CARRIED:
        if not environment.get(name):
            environment.pop(name, None)
    environment.update(of_settings(settings))
    environment.update(of_server(settings, destination))
