"""The certificates by which scheduler, workers and clients know one another, and the check of an address.

A folder holds ``ca.pem`` (the authority's certificate), ``certificate.pem`` and ``key.pem``.
"""

from __future__ import annotations

import os
import socket
import ssl
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from trainer.util.errors import InputError, TrainerError

if TYPE_CHECKING:
    from distributed import Security

DEFAULT_PORT = 8786
#: Where the images find the certificates; the composed services mount them there.
DEFAULT_FOLDER = Path("/run/secrets/cluster")
FOLDER_VARIABLE = "TRAINER_CLUSTER_CERTIFICATES"
#: How long one attempt to reach the scheduler may take, in seconds.
_ATTEMPT = 5.0
_EXPIRED, _UNKNOWN = "certificate has expired", "the certificates are of different authorities"


class ClusterError(TrainerError):
    """The cluster cannot be reached, or does not work."""


@dataclass(frozen=True)
class Credentials:
    """The folder with the certificates of this party."""

    folder: Path

    @classmethod
    def find(cls, folder: Path | None = None) -> Credentials:
        """Return the credentials in ``folder``, else in the one that the environment names, else in the image's.

        Raises:
            InputError: A file is missing, cannot be read, or does not fit the others.
        """
        return cls(folder or Path(os.environ.get(FOLDER_VARIABLE) or DEFAULT_FOLDER)).checked()

    @property
    def files(self) -> tuple[Path, Path, Path]:
        """The authority's certificate, the own certificate, and its key."""
        return self.folder / "ca.pem", self.folder / "certificate.pem", self.folder / "key.pem"

    def checked(self) -> Credentials:
        """Return these credentials if they can be used."""
        for file in self.files:
            try:
                file.read_bytes()
            except OSError as error:
                raise InputError(
                    f"{file}: {error.strerror}; the cluster's certificates are wanted there ({FOLDER_VARIABLE} names"
                    " another folder)"
                ) from error
        try:
            self.context()
        except (ssl.SSLError, OSError) as error:
            raise InputError(f"{self.folder}: the certificate and its key cannot be used: {error}") from error
        return self

    def context(self) -> ssl.SSLContext:
        """Return a context for connections to the scheduler."""
        authority, certificate, key = self.files
        context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=str(authority))
        # Who holds a certificate of this authority belongs to the cluster, whatever its host is called.
        context.check_hostname = False
        context.load_cert_chain(str(certificate), str(key))
        return context

    def security(self) -> Security:
        """Return what ``distributed`` takes: the same files, whatever this party's part is."""
        from distributed import Security

        authority, certificate, key = map(str, self.files)
        return Security(
            require_encryption=True,
            tls_ca_file=authority,
            **{f"tls_{role}_cert": certificate for role in ("client", "scheduler", "worker")},
            **{f"tls_{role}_key": key for role in ("client", "scheduler", "worker")},
        )


def parse_address(address: str) -> tuple[str, int]:
    """Return host and port of a scheduler's address: ``HOST``, ``HOST:PORT`` or ``tls://HOST:PORT``.

    Raises:
        InputError: It is no such address.
    """
    parts = urlsplit(address if "://" in address else f"tls://{address}")
    try:
        port = DEFAULT_PORT if parts.port is None else parts.port
    except ValueError:
        port = 0
    if parts.scheme != "tls" or not parts.hostname or not port or parts.path.strip("/") or parts.query:
        raise InputError(f"--cluster: {address!r} is not allowed; write tls://HOST:PORT, as in tls://scheduler:8786")
    return parts.hostname, port


def reach(address: str, credentials: Credentials, patience: float) -> None:
    """Check that a scheduler answers at an address, and that both sides accept the other's certificate.

    Args:
        address: See ``parse_address``.
        credentials: This party's.
        patience: How long to try where nothing listens yet, in seconds.

    Raises:
        ClusterError: Nothing, or something else, answers there, or a certificate is refused.
    """
    host, port = parse_address(address)
    shown = f"tls://{host}:{port}"
    deadline = time.monotonic() + patience
    while True:
        try:
            _handshake(host, port, credentials)
        except ssl.SSLError as error:
            raise ClusterError(f"{shown}: {_in_words(error)}") from error
        except TimeoutError as error:
            raise ClusterError(f"{shown}: what answers there is no scheduler of a cluster (--cluster)") from error
        except OSError as error:
            if time.monotonic() < deadline:
                time.sleep(0.2)
                continue
            raise ClusterError(
                f"{shown}: no scheduler answers: {error.strerror or error} (--cluster; docker compose --profile cluster"
                " up --detach --wait starts one)"
            ) from error
        return


def _handshake(host: str, port: int, credentials: Credentials) -> None:
    with (
        socket.create_connection((host, port), timeout=_ATTEMPT) as plain,
        credentials.context().wrap_socket(plain, server_hostname=host) as secure,
    ):
        # A scheduler introduces itself; one that refuses this side's certificate says so only now.
        if not secure.recv(1):
            raise ConnectionResetError("the connection was closed")


def _in_words(error: ssl.SSLError) -> str:
    text = str(error).lower()
    reason = (error.reason or "").replace("_", " ").lower()
    renew = "docker compose run --rm secrets generate-cluster --renew makes new ones"
    if "expired" in text:
        side = "this side's" if "alert" in text else "the scheduler's"
        return f"{side} {_EXPIRED} ({renew})"
    if "unknown ca" in text or "unknown_ca" in text or "verify failed" in text:
        return f"{_UNKNOWN}; copy those of this cluster ({renew})"
    if "certificate required" in reason or "certificate_required" in text:
        return "the scheduler wants a certificate, and was given none"
    if "wrong version number" in text or "record layer" in text or "http request" in text:
        return "what answers there is no scheduler of a cluster (--cluster)"
    return f"the secure connection failed: {reason or error}"
