"""The process that starts a stack, and removes it when the tests end, however they end.

It is a process of its own, in a session of its own: a Ctrl-C in the terminal does not reach it. The end of its input
tells it that the tests are over, also where pytest was killed. It imports nothing of the package, because it is run by
its path.

Its arguments are the beginning of the command, such as `docker compose --file … --project-name …`. When the stack is
up, or has failed to come up, it prints a line of JSON: `{"code": 0, "said": "…"}`; when it has removed it, another one.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading

UP = ("up", "--detach", "--wait", "--wait-timeout", "300", "--no-build", "--quiet-pull")
DOWN = ("down", "--volumes", "--remove-orphans", "--timeout", "0")


def report(code: int, said: str) -> None:
    """Prints how a command ended. Nobody may be there to read it any more."""
    with contextlib.suppress(OSError):
        os.write(1, f"{json.dumps({'code': code, 'said': said})}\n".encode())


def main(compose: list[str]) -> None:
    """Starts the stack, waits for the tests' end, and removes the stack."""
    nothing, pipe = subprocess.DEVNULL, subprocess.PIPE
    up = subprocess.Popen([*compose, *UP], stdin=nothing, stdout=nothing, stderr=pipe, text=True)

    def wait_for_the_end() -> None:
        """Returns when the tests are over: a line says so, or the input ends."""
        sys.stdin.readline()
        # Where it is still starting; nothing where it has started.
        up.terminate()

    over = threading.Thread(target=wait_for_the_end)
    over.start()
    said = up.communicate()[1]
    report(up.returncode, said)
    over.join()
    down = subprocess.run([*compose, *DOWN], stdin=nothing, stdout=nothing, stderr=pipe, text=True, check=False)
    report(down.returncode, down.stderr)


if __name__ == "__main__":
    main(sys.argv[1:])
