"""Long names in a plot: shortened to the room that there is, and still told from each other."""

from __future__ import annotations

from collections.abc import Sequence

from trainer.plots import style

#: Names that look alike after so many attempts differ at more places than anyone would compare.
_ATTEMPTS = 4
#: What a name begins with where its middle is what tells it from others (letters).
_HEAD = 6
#: How many letters a word that differs is gone back for, at most.
_WORD = 8


def feature_names(names: Sequence[str], size: float) -> tuple[list[str], float]:
    """Return features' names as a plot has room for them, and how far to the right they reach."""
    # Names get what they need, and what is drawn the rest.
    shown = cut_apart(names, size, 0.36)
    return shown, 0.03 + max(style.extent(name, size) for name in shown)


def cut_apart(names: Sequence[str], size: float, room: float) -> list[str]:
    """Return names with something cut out where they need more room; names that differ stay different.

    Args:
        names: The names.
        size: The letters' size (points).
        room: The room for each, as a share of the figure's width.
    """
    names = [style.on_one_line(name) for name in names]
    shown = [style.cut(name, size, room) for name in names]
    for _ in range(_ATTEMPTS):
        alike: dict[str, set[int]] = {}
        for place, text in enumerate(shown):
            alike.setdefault(text, set()).add(place)
        groups = [places for places in alike.values() if len({names[place] for place in places}) > 1]
        if not groups:
            break
        for places in groups:
            same = _common([names[place] for place in places])
            for place in places:
                shown[place] = _from(names[place], same, size, room)
    return shown


def _common(texts: Sequence[str]) -> int:
    """Return with how many of the same letters texts begin."""
    columns = enumerate(zip(*texts, strict=False))
    return next((place for place, letters in columns if len(set(letters)) > 1), min(map(len, texts)))


def _from(text: str, start: int, size: float, room: float) -> str:
    """Return the beginning of a text and what comes at a place, cut to the room."""
    # From the beginning of the word, or of the number: 12 says more than 2.
    for _ in range(_WORD):
        if start and text[start - 1].isalnum():
            start -= 1
    head = text[: min(_HEAD, start)]
    cut = "…" if start > len(head) else ""
    most = len(text) - start
    while most > 1 and style.extent(_joined(head, cut, text[start:], most), size) > room:
        most -= 1
    return _joined(head, cut, text[start:], most)


def _joined(head: str, cut: str, rest: str, most: int) -> str:
    return f"{head}{cut}{rest}" if len(rest) <= most else f"{head}{cut}{rest[:most]}…"
