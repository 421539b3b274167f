"""Tracking URIs: SQLite files, credentials, and where artifacts go."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote, unquote, urlsplit, urlunsplit

EMBEDDED_URI = "sqlite:///mlflow.db"
#: The server's name in the composed stack's network, which nobody but that stack's containers knows.
COMPOSED_URI = "http://mlflow:5000"
ARTIFACT_FOLDER = "mlartifacts"


def without_credentials(uri: str) -> str:
    """Return a URI without the user and password it may hold, fit to be shown."""
    parts = urlsplit(uri)
    if "@" not in parts.netloc:
        return uri
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def absolute(uri: str) -> str:
    """Return a SQLite URI with an absolute path, so that it means the same file in every process."""
    prefix = "sqlite:///"
    if not uri.startswith(prefix) or uri == prefix or ":memory:" in uri:
        return uri
    path, mark, query = uri.removeprefix(prefix).partition("?")
    return f"{prefix}{Path(path).absolute()}{mark}{query}"


def sqlite_file(uri: str) -> Path | None:
    """Return the file that a SQLite URI names; None for any other URI."""
    prefix = "sqlite:///"
    if not uri.startswith(prefix) or ":memory:" in uri:
        return None
    return Path(unquote(uri.removeprefix(prefix).partition("?")[0]))


def artifact_location(uri: str, experiment: str) -> str | None:
    """Return where a new experiment's artifacts go: beside a SQLite file; elsewhere the server knows."""
    file = sqlite_file(uri)
    if file is None:
        return None
    return (file.parent / ARTIFACT_FOLDER / quote(experiment, safe=" ")).absolute().as_uri()
