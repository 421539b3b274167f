"""The version of the code by which client and workers know whether they belong together."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.metadata import version

from trainer.util.provenance import source_digest

#: What travels between client and workers is made of these, and a result depends on some of them.
_LIBRARIES = ("distributed", "lightgbm", "mlflow", "numpy", "pandas", "scikit-learn")


@cache
def code_version() -> str:
    """Return 12 hexadecimal digits for this package's modules and the libraries' versions."""
    libraries = "".join(f"{name} {version(name)}\n" for name in _LIBRARIES)
    return hashlib.sha256(f"{source_digest()}\n{libraries}".encode()).hexdigest()[:12]


def code_resource() -> str:
    """Return the name of the resource that a worker of this code offers, one for each slot.

    A task asks for one: so it runs on no worker of another code, and a worker runs no more than one at once.
    """
    return f"code-{code_version()}"
