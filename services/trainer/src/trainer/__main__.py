"""Where the command ``trainer`` begins. Ctrl-C is one line and an exit code from here on, while the rest loads too."""

import sys
from typing import NoReturn

from trainer.util.signals import exit_code, interruptible


def main() -> NoReturn:
    """Run the command line, and end the process with its exit code."""
    try:
        with interruptible():
            from trainer.cli.main import main as run_command_line

            run_command_line()
    except KeyboardInterrupt as interrupt:
        # Before the command line was there to report it, or a second one after it had.
        print("trainer: error: interrupted", file=sys.stderr, flush=True)
        sys.exit(exit_code(interrupt))
    finally:
        # After `python -m`, Python itself dies of SIGINT, whatever the exit code, if the last text that it executed was
        # cut short by Ctrl-C: a dataclass is such a text. Executing another one makes it forget.
        exec("")  # noqa: S102


if __name__ == "__main__":
    main()
