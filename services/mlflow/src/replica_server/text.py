"""Texts of others, as one line for a message or the log."""

LENGTH = 300


def one_line(text: str) -> str:
    """Returns a message as one line that is not too long."""
    return " ".join(text.split())[:LENGTH]


def printable(text: str) -> str:
    """Returns a text as one line that is not too long and holds nothing that a terminal would obey."""
    return "".join(character if character.isprintable() else "?" for character in one_line(text))
