"""The health check of the serving container: healthy when a model is served.

It imports only the standard library, so that a check costs little.
"""

import http.client
import os
import sys


def main() -> None:
    """Exits with 0 when /ping is answered, else with 1 and the reason."""
    connection = http.client.HTTPConnection("127.0.0.1", int(os.environ.get("TRAINER_PORT", "5001")), timeout=5)
    try:
        connection.request("GET", "/ping")
        response = connection.getresponse()
        body = response.read(500).decode(errors="replace")
    except OSError as error:
        sys.exit(f"no answer: {error}")
    if response.status != http.client.OK:
        sys.exit(f"{response.status} {response.reason}: {body}")


if __name__ == "__main__":
    main()
