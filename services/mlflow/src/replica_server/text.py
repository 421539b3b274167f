"""Makes one line of a text that somebody else wrote: for a message, the log or the record."""

import re

LENGTH = 300
#: A person's token (people/identity.py): whoever reads the log may not have it.
TOKEN = re.compile(r"mlr_[A-Za-z0-9_-]{43}")


def one_line(text: str) -> str:
    """Returns a message as one line that is not too long."""
    return " ".join(text.split())[:LENGTH]


def printable(text: str) -> str:
    """Returns a text as one line that is not too long, and holds no token and nothing that a terminal would obey."""
    shown = one_line(TOKEN.sub("mlr_***", text))
    return "".join(character if character.isprintable() else "?" for character in shown)
