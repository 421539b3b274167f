"""Warnings on text columns that may have been meant as numbers, dates, booleans or row identifiers."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

import pandas as pd

from trainer.config.csv_form import THOUSANDS
from trainer.util.text import one_line

#: A text column with more distinct values than this is most likely an identifier.
MANY_CATEGORIES = 1_000
#: A text column with no more numbers or dates than this most likely holds codes.
_CODES = 10
_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
#: In other digits than 0 to 9, it is a text wherever it is read.
_PLAIN_NUMBER = _NUMBER.replace(r"\d", "[0-9]")
_COMMA_NUMBER = (
    r"[-+]?(?:\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d{1,3}(?:\.\d{3})*,\d+|\d+,\d+|\d{1,3}(?:[\s'\u2019]\d{3})+(?:[.,]\d+)?)"
)
_DECIMAL_COMMA, _WHOLE_NUMBER = r"[-+]?\d+,\d+", r"[-+]?\d+"
#: So many words beside numbers most likely stand for missing values.
_FEW = 3
#: A number as people write it: 12.5 %, $1,234.50, (3.20).
_DRESSED_NUMBER = rf"\(?[-+\u2212]?[$€£¥]?\s?(?:{_NUMBER}|{_COMMA_NUMBER})\s?[%$€£¥]?\)?"
#: What stands for a missing value in exports of databases and spreadsheets, and is none to pandas.
_MISSING_WORDS = {"", "\\N", "?", "-", "--", ".", "#DIV/0!", "#NAME?", "#NUM!", "#REF!", "#VALUE!"}
#: Two ways to write the same.
_TRUTH, _DIGITS = {"true", "false"}, {"0", "1", "0.0", "1.0"}
#: The warning on a column of dates.
DATES = "is taken as text, each value a category, but looks like dates: later ones are unknown to the model"
_MONTH = r"[^\W\d_]{3,9}"
_DATE = (
    rf"(?:{_MONTH},? )?"  # a day of the week
    r"(?:\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|(?:19|20)\d\d[-/]\d{1,2}|\d{1,2}[-/.]\d{1,2}[-/.]\d{4}|\d{1,2}/\d{1,2}/\d{2}"
    rf"|\d{{1,2}}[-/. ]{{1,2}}{_MONTH}[-/ ]\d{{2,4}}|{_MONTH} \d{{1,2}},? \d{{4}})(?:[ T,]|$)"
)


def text_warning(columns: Sequence[pd.Series]) -> str | None:
    """Return a warning on a text column that may have been meant as something else, or None."""
    texts = pd.Series(pd.concat(columns).dropna().unique(), dtype="str")
    stripped = texts.str.strip()
    spelt = set(stripped.str.lower())
    if spelt >= _TRUTH:
        others = texts[~texts.str.lower().isin(("true", "false"))]
        # Where there are none, the file itself says that they are text.
        if others.empty:
            return None
        example = one_line(repr(others.iloc[0]), 40)
        return (
            f"is taken as text, each value a category, because of values such as {example} beside true and false"
            " (write a missing value as nothing)"
        )
    if (digits := spelt - _TRUTH) < spelt and digits and digits <= _DIGITS:
        return (
            f"is taken as text, each value a category, because it holds {min(spelt & _TRUTH)} as well as {min(digits)}"
            " (write true and false the same way in all rows)"
        )
    plain = stripped.str.fullmatch(_PLAIN_NUMBER)
    numbers = stripped.str.fullmatch(_DRESSED_NUMBER)
    # Where all are plain, the file itself says that they are text.
    if not plain.all() and (_most(numbers) or (plain.any() and set(stripped[~plain]) <= _MISSING_WORDS)):
        example = one_line(repr(str(texts[~plain].iloc[0])), 40)
        because = f"is taken as text, each value a category, because of values such as {example}"
        commas = stripped.str.fullmatch(_DECIMAL_COMMA)
        if commas.any() and _most(commas | stripped.str.fullmatch(_WHOLE_NUMBER)):
            if stripped[commas].str.fullmatch(THOUSANDS.pattern).all():
                return f"{because} (write thousands as digits alone; --decimal , reads them, if they are decimals)"
            return f"{because} (--decimal , reads them)"
        words = sorted(set(stripped[~plain]))
        if len(words) <= _FEW and not any(numbers[~plain]) and all(word and "," not in word for word in words):
            given = shlex.quote(",".join(words))
            return f"{because} beside numbers (--missing {given} takes them for missing values)"
        return (
            f"{because}; {int(numbers.sum()):,} of its {len(texts):,} distinct values look like numbers"
            " (write digits alone, decimals with a point, and a missing value as nothing)"
        )
    if _most(stripped.str.match(_DATE)):
        return DATES
    if len(texts) > MANY_CATEGORIES:
        return f"has {len(texts):,} distinct texts: if it identifies rows, leave it out (--drop)"
    return None


def decimals_warning(columns: Sequence[pd.Series]) -> str | None:
    """Return a warning on categories that are whole numbers with a decimal point, as pandas writes those with gaps.

    In Parquet files and in requests the number 1.0 is the category 1.
    """
    texts = pd.Series(pd.concat(columns).dropna().unique(), dtype="str")
    if texts.empty or not texts.str.fullmatch(rf"{_WHOLE_NUMBER}\.0+").all():
        return None
    example = texts.iloc[0]
    return (
        f"holds whole numbers that are written as decimals, such as {example!r}: as numbers, in Parquet files and in"
        f" requests, they are other categories, such as {example.partition('.')[0]!r}; write them without a point"
    )


def looks_like_number(text: str) -> bool:
    """Tell whether a text is a number as people write it, which need not be one as files do."""
    return re.fullmatch(_DRESSED_NUMBER, text.strip()) is not None


def _most(found: pd.Series) -> bool:
    """Tell whether most values are of a kind; a few may well be codes, such as 0, 1, 2 and 3+."""
    return bool(found.sum() > max(_CODES, len(found) / 2))
