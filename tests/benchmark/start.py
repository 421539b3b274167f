"""What `docker compose run --rm trainer` takes until its first line, on a terminal, and what that is made of.

    scripts/benchmark --start [ROUNDS]

The stack is one of its own, and removed afterwards.
"""

import os
import pty
import statistics
import subprocess
import sys
import time

from .benchmark import ENVIRONMENT, PROJECT, ROOT, STACK, compose, stack

PARTS = (
    "the command to the container's creation (Compose)",
    "its creation to its start (the engine)",
    "its start to the first line (the trainer)",
    "the command to the first line",
)


def run(number: int) -> tuple[float, ...]:
    """Returns how long each part takes, in seconds."""
    name = f"{PROJECT}-start-{number}"
    watch = ["docker", "events", "--filter", f"container={name}", "--format", "{{.TimeNano}} {{.Action}}"]
    terminal, theirs = pty.openpty()
    command = ["docker", "compose", "--project-name", PROJECT, "--project-directory", str(ROOT)]
    begin = time.time()
    events = subprocess.Popen([*watch, "--since", f"{begin:.3f}"], stdout=subprocess.PIPE, text=True)
    process = subprocess.Popen(
        [*command, "run", "--rm", "--no-deps", "--name", name, "trainer", "--n-estimators", "20"],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=ENVIRONMENT,
    )
    os.close(theirs)
    first = 0.0
    try:
        while content := os.read(terminal, 2**16):
            # What Compose says of its networks and volumes is no line of the trainer's.
            if not first and b"trainer: " in content:
                first = time.time()
    except OSError:
        # So Linux says that nobody holds the other end any more.
        pass
    if process.wait(60) or not first:
        raise SystemExit("start: error: the trainer fails")
    events.terminate()
    assert events.stdout
    times = {words[1]: int(words[0]) / 1e9 for words in map(str.split, events.stdout) if len(words) == 2}
    return times["create"] - begin, times["start"] - times["create"], first - times["start"], first - begin


def main() -> None:
    """Measures and prints."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 7
    compose("--profile", "minio", "--profile", "trainer", "build")
    with stack():
        compose("up", "--detach", "--wait", *STACK)
        found = [run(number) for number in range(rounds)]
    for part, seconds in zip(PARTS, zip(*found, strict=True), strict=True):
        print(f"{part:<52} {statistics.median(seconds):5.2f} s  ({min(seconds):.2f} to {max(seconds):.2f})")


if __name__ == "__main__":
    main()
