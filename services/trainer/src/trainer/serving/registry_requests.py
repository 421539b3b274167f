"""Asks an MLflow server which version an alias names, without MLflow: one small request every few seconds."""

from __future__ import annotations

import base64
import json
import os
import ssl
import urllib.error
import urllib.request
from urllib.parse import quote, unquote, urlencode, urlsplit

from trainer.serving.prepare import ModelError
from trainer.util.text import one_line

#: With these, MLflow's client authenticates in ways that only it knows.
_ONLY_MLFLOW = ("MLFLOW_TRACKING_AUTH", "MLFLOW_TRACKING_AWS_SIGV4", "MLFLOW_TRACKING_CLIENT_CERT_PATH")
_MISSING = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")
_SECONDS = 30.0


def find_version(tracking_uri: str, name: str, alias: str) -> str:
    """Return the version of a registered model that has an alias.

    Raises:
        ModelError: The registry does not answer, or has no such model or alias.
        TrackingError: The tracking URI cannot be used.
    """
    if tracking_uri.startswith(("http://", "https://")) and not any(map(os.environ.get, _ONLY_MLFLOW)):
        return _ask(tracking_uri, name, alias)
    from mlflow.exceptions import MlflowException

    from trainer.tracking.connection import make_client
    from trainer.tracking.errors import is_missing

    client = make_client(tracking_uri)
    try:
        return str(client.get_model_version_by_alias(name, alias).version)
    except MlflowException as error:
        if is_missing(error):
            raise _no_such(name, alias) from error
        raise ModelError(f"the registry does not answer: {one_line(error, 200)}") from error


def _ask(tracking_uri: str, name: str, alias: str) -> str:
    parts = urlsplit(tracking_uri)
    base = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl().rstrip("/")
    query = urlencode({"name": name, "alias": alias}, quote_via=quote)
    request = urllib.request.Request(f"{base}/api/2.0/mlflow/registered-models/alias?{query}")  # noqa: S310 - http
    if (login := _login(parts.username, parts.password)) is not None:
        request.add_header("Authorization", login)
    try:
        with urllib.request.urlopen(request, timeout=_SECONDS, context=_tls()) as reply:  # noqa: S310 - http
            return str(json.load(reply)["model_version"]["version"])
    except urllib.error.HTTPError as error:
        said = error.read(2_000).decode(errors="replace")
        try:
            content = json.loads(said)
            code, message = content["error_code"], str(content["message"])
        except (ValueError, KeyError, TypeError):
            code, message = "", f"{error.code} {said or error.reason}"
        if code in _MISSING:
            raise _no_such(name, alias) from None
        raise ModelError(f"the registry does not answer: {one_line(message, 200)}") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"the registry does not answer: {one_line(error, 200)}") from None


def _login(user: str | None, password: str | None) -> str | None:
    """Return the header that MLflow's client would send."""
    if user:
        user, password = unquote(user), unquote(password or "")
    else:
        user, password = os.environ.get("MLFLOW_TRACKING_USERNAME"), os.environ.get("MLFLOW_TRACKING_PASSWORD")
    if user and password is not None:
        return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
    token = os.environ.get("MLFLOW_TRACKING_TOKEN")
    return f"Bearer {token}" if token else None


def _tls() -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=os.environ.get("MLFLOW_TRACKING_SERVER_CERT_PATH") or None)
    if os.environ.get("MLFLOW_TRACKING_INSECURE_TLS", "").lower() in ("true", "1"):
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _no_such(name: str, alias: str) -> ModelError:
    return ModelError(f"no version of {name} has the alias {alias}; trainer promote gives it")
