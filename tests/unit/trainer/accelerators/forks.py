"""Runs programs in forks of an interpreter of their own: what they have in common is imported once.

Unlike a program of ``programs``, such a program has imported what its test says, and nothing else.
"""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

#: Runs what it is started with, then each program that it reads in a fork.
_PARENT = """
import json, os, sys, traceback
exec(sys.argv[1])
def fork(program):
    files = [os.memfd_create(name) for name in ("out", "err")]
    child = os.fork()
    if child == 0:
        for number, file in enumerate(files, 1):
            os.dup2(file, number)
        code = 1
        try:
            exec(program, globals())
            sys.stdout.flush()
            code = 0
        except BaseException:
            traceback.print_exc()
        os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return code, *map(read, files)
def read(file):
    os.lseek(file, 0, os.SEEK_SET)
    with os.fdopen(file) as stream:
        return stream.read()
for line in sys.stdin:
    print(json.dumps(fork(json.loads(line))), flush=True)
"""


class Forks:
    """An interpreter that has run a first program, and forks for each further one."""

    def __init__(self, begin: str) -> None:
        command = [sys.executable, "-c", _PARENT, begin]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def run(self, program: str) -> list[str]:
        """Run a program, which has all names of the first one, and return the lines that it prints."""
        stdin, stdout = self._pipes()
        print(json.dumps(textwrap.dedent(program)), file=stdin, flush=True)
        code, out, err = json.loads(stdout.readline())
        assert (code, err) == (0, "")
        return list(out.splitlines())

    def close(self) -> None:
        """End the interpreter."""
        # It has nothing to tidy up.
        self._process.kill()
        self._process.communicate()

    def _pipes(self) -> tuple[IO[str], IO[str]]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        return self._process.stdin, self._process.stdout


@contextmanager
def forks(begin: str) -> Iterator[Forks]:
    """Run an interpreter that has run ``begin``; see ``Forks``."""
    started = Forks(begin)
    try:
        yield started
    finally:
        started.close()
