"""Runs one of the package's commands: `replica-server serve` in the image, or `python3 -m replica_server serve`."""

import sys
from importlib import import_module

COMMANDS = ("serve", "preflight", "migrate", "gc", "backup", "usage", "monitor-role", "healthcheck", "audit", "version")


def main() -> None:
    """Runs the command that the first argument names; exits with status 1 and one line at another name."""
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    if name not in COMMANDS:
        sys.exit(f"error: there is no command {name!r}; there are {', '.join(COMMANDS)}")
    sys.argv = [name, *sys.argv[2:]]
    # Only the module of the command: a health check that imported MLflow would take seconds.
    import_module(f"replica_server.commands.{name.replace('-', '_')}").main()


if __name__ == "__main__":
    main()
