"""Runs in gcloud's own Python: has its parser judge commands (a JSON list of argument lists on stdin), and runs none.

It goes the way that `gcloud meta lint-gcloud-commands` goes, without that command's changes to what it is given. Prints
a JSON list: for each command null, or the parser's message.
"""

import json
import sys


def judge(cli, arguments):  # type: ignore[no-untyped-def]
    """Returns the parser's message, or None when it takes the command."""
    node = cli._TopElement()
    for position, word in enumerate(arguments):
        node = node.LoadSubElement(word)
        if node is None:
            return f"Invalid choice: {word!r}"
        if not node.is_group:
            try:
                node._parser.parse_args(arguments[position + 1 :], raise_error=True)
            except argparse.ArgumentError as error:
                return str(error)
            return None
    return "Command name expected"


if __name__ == "__main__":
    sys.path[:0] = [f"{sys.argv[1]}/lib/third_party", f"{sys.argv[1]}/lib"]
    # gcloud brings an argparse of its own, which has to be the first that is imported.
    import argparse

    from googlecloudsdk import gcloud_main  # type: ignore[import-not-found]

    cli = gcloud_main.CreateCLI([])
    print(json.dumps([judge(cli, arguments) for arguments in json.load(sys.stdin)]))  # type: ignore[no-untyped-call]
