"""Warnings on categories that a model has not seen, with the likely cause: the same text, written otherwise."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Collection, Iterable

import pandas as pd

from trainer.util.text import folded, one_line, quoted

#: A warning comes from this share of unseen texts on: a few are always new.
SHARE = 0.05
#: So many different unseen texts are looked at.
MOST_LOOKED_AT = 200


def _number_form(text: str) -> str:
    """Return a number as the shortest text that means the same; other texts as they are."""
    try:
        number = float(text) if text.isascii() and "_" not in text else None
    except ValueError:
        number = None
    return text if number is None else f"{number:.15g}"


def _letters(text: str) -> str:
    """Return a text's letters and digits alone, without accents; the text itself where it has none."""
    plain = unicodedata.normalize("NFKD", text.casefold())
    return "".join(sign for sign in plain if unicodedata.category(sign)[0] in "LN") or text


#: What the same text may differ in, and what makes it the same again.
_FORMS: tuple[tuple[str, Callable[[str], str]], ...] = (
    ("white space", lambda text: " ".join(text.split())),
    ("its Unicode form", lambda text: unicodedata.normalize("NFKC", text)),
    ("capital letters", str.casefold),
    ("how the number is written", _number_form),
    ("capital letters and white space", folded),
    # Quotes, dashes, and what is not seen at all.
    ("signs or accents", _letters),
)


def unseen_warning(train: pd.Series, test: pd.Series) -> str | None:
    """Return a warning where many texts of the test rows are in no training row, or None."""
    known = train.dropna().unique()
    given = test.dropna()
    unseen = given[~given.isin(known)]
    return unseen_categories_warning(len(unseen), len(given), "test rows", unseen.unique(), known)


def unseen_categories_warning(
    count: int, given: int, rows: str, unseen: Iterable[str], known: Collection[str]
) -> str | None:
    """Return a warning where a model does not know a share of the texts in a column that matters, or None.

    Args:
        count: How many of the texts the model does not know.
        given: How many texts there are.
        rows: What the rows are called.
        unseen: Different ones of the unknown texts, in their order.
        known: The categories that the model knows.
    """
    texts = [str(text) for text, _ in zip(unseen, range(MOST_LOOKED_AT), strict=False)]
    if not texts or count <= SHARE * given:
        return None
    return (
        f"holds texts in {count:,} of {given:,} {rows} that no training row has, such as {_shown(texts[0])}: the model"
        f" takes them for missing values{_likely_cause(texts, known)}"
    )


def _likely_cause(unseen: Collection[str], known: Collection[str]) -> str:
    """Return in what most unseen texts differ from known ones, with an example; empty where nothing explains it."""
    for what, form in _FORMS:
        categories = {form(str(category)): str(category) for category in known}
        pairs = [(text, categories[form(text)]) for text in unseen if form(text) in categories]
        if 2 * len(pairs) >= len(unseen):
            text, category = pairs[0]
            return f"; the training rows hold {_shown(category)} for {_shown(text)}, which differs in {what}"
    return ""


def _shown(text: str) -> str:
    return one_line(quoted(text), 40)
