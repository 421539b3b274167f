"""Texts for messages: one line, lists of names, the nearest name."""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Iterable

_LONG_DECIMAL = re.compile(r"(?<![\w.])\d+\.\d{5,}(?:e[+-]?\d+)?(?![\w.])")


def listed(names: Iterable[object], most: int = 8) -> str:
    """Return names separated by commas; of more than ``most`` only the first, and how many there are.

    A name with white space at its ends, or more than a blank inside, stands in quotes: nothing else would show it.
    """
    texts = [text if quoted(text := str(name)) == repr(" ".join(text.split())) else quoted(text) for name in names]
    return ", ".join(texts[:most]) + (f", … ({len(texts)} in all)" if len(texts) > most else "")


def quoted(text: str) -> str:
    """Return a text in quotes, with escapes where its Unicode form is not the usual one (NFC).

    Otherwise two names that differ in their Unicode form would look the same.
    """
    return repr(text) if unicodedata.is_normalized("NFC", text) else ascii(text)


def folded(name: str) -> str:
    """Return a name in lower case, in one Unicode form (NFKC) and with single blanks, to compare it with others."""
    return " ".join(unicodedata.normalize("NFKC", name).casefold().split())


def nearest(name: str, among: Iterable[str], cutoff: float = 0.6) -> str | None:
    """Return which of some names ``name`` most likely is meant to be, or None where none is like it.

    What differs in capital letters, white space or the Unicode form alone is the nearest.

    Args:
        name: What was written.
        among: The names that there are.
        cutoff: How alike the two must be, from 0 to 1.
    """
    names = list(among)
    same = [one for one in names if folded(one) == folded(name)]
    close = same or difflib.get_close_matches(name, names, n=1, cutoff=cutoff)
    return close[0] if close else None


def did_you_mean(name: str, among: Iterable[str], otherwise: str) -> str:
    """Return ``did you mean 'x'?`` for the nearest of some names, or ``otherwise`` where none is like it."""
    near = nearest(name, among)
    return f"did you mean {quoted(near)}?" if near is not None else otherwise


def one_line(error: BaseException | str, limit: int = 500) -> str:
    """Return an error's message as a single line of at most ``limit`` characters.

    Args:
        error: An exception, or a message.
        limit: The longest line returned; what is cut is replaced by an ellipsis.
    """
    text = " ".join(str(error).split())
    # MLflow's message quotes the rows before it says what is wrong with them.
    text = re.sub(r"Failed to enforce schema of data '.*' with schema '.*'\. Error: ", "", text)
    # SQLAlchemy goes on with the statement and its parameters.
    text = text.partition(" [SQL: ")[0]
    # An address may hold a user's name and password.
    text = re.sub(r"(?<=://)[^/\s@]+@", "", text)
    # A message may quote control characters from a file or a server: they must not reach the terminal.
    text = "".join(letter if letter.isprintable() else "�" for letter in text)
    if not text:
        text = type(error).__name__
    return text if len(text) <= limit else text[: limit - 1] + "…"


def short_numbers(text: str) -> str:
    """Return a text whose long decimals have four digits: what a search has drawn has sixteen."""
    return _LONG_DECIMAL.sub(lambda found: f"{float(found[0]):.4g}", text)
