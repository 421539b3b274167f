"""The compose file of other projects' tests: a release's, whose images' tag can be set. Prints it.

The pytest plugin carries it (scripts/pytest-plugin), and the GitHub Action starts it (.github/actions/stack).
"""

# macOS's own Python is 3.9.
from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Mapping
from pathlib import Path

from releasing.compose_file import release_compose
from releasing.release_files import read_digests
from releasing.version_facts import Refusal, prefix_of

# A release's image: its name, then version and digest.
NAMED = re.compile(r"(\$\{IMAGE_PREFIX:-[^}]+\}-[a-z-]+):(\S+)")


def stack_file(owner: str, digests: Mapping[str, str] | None = None) -> str:
    """Returns the release's compose file in which IMAGE_TAG, where it is set, stands for version and digest."""
    text, count = NAMED.subn(r"\1:${IMAGE_TAG:-\2}", release_compose(prefix_of(owner), digests=digests))
    if not count:
        raise Refusal("the release's compose file names no image")
    return text


def main() -> None:
    """Prints the file."""
    parser = argparse.ArgumentParser(prog="stack_file", add_help=False)
    parser.add_argument("--owner", required=True)
    parser.add_argument("--digests", type=Path)
    options = parser.parse_args()
    try:
        print(stack_file(options.owner, read_digests(options.digests) if options.digests else None), end="")
    except Refusal as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
