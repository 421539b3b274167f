"""Where the server keeps its artifacts: whatever prepared the storage has written it to a small volume.

So the server is the same whatever the storage is, and it cannot start on a storage that nothing has prepared. MinIO's
preparation (services/bucket) leaves an address in Google Cloud Storage alone: see there.
"""

import os
import signal
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

FOLDER = Path("/run/artifact-store")
FILE = FOLDER / "destination"


def _destination() -> str:
    with suppress(FileNotFoundError):
        return FILE.read_text().strip()
    return ""


def read_destination() -> str:
    """Returns the address; exits with status 1 and one line when there is none."""
    if destination := _destination():
        return destination
    failed = "its last check has failed (docker compose logs preflight bucket); mend that, and start the stack again"
    missing = "start the stack with the profile minio or gcs"
    sys.exit(f"error: no storage has been prepared: {failed if refused_file().exists() else missing}")


def write_destination(destination: str) -> None:
    """Writes the address, whole or not at all."""
    new = FILE.with_suffix(".new")
    new.unlink(missing_ok=True)
    new.write_text(f"{destination}\n")
    new.chmod(0o444)
    new.replace(FILE)
    refused_file().unlink(missing_ok=True)


def refused_file() -> Path:
    """Returns the file with an address that worked once and that the last check has refused."""
    return FILE.with_suffix(".refused")


def refuse_destination() -> None:
    """Takes the address away: no server starts until a storage has been prepared again. One that runs goes on.

    It is kept beside: a check that fails for a while must not let MinIO take the bucket's place.
    """
    with suppress(FileNotFoundError):
        FILE.replace(refused_file())


def end_when_changed(destination: str, interval: float = 1.0) -> None:
    """Ends this process when another storage has been prepared, so that its container starts again with that one.

    Compose does not: nothing in the server's own settings has changed when the stack is started with another profile.
    """

    def watch() -> None:
        while _destination() in ("", destination):
            time.sleep(interval)
        print("the artifacts' storage has changed: starting again", flush=True)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="artifact-store", daemon=True).start()
