"""Warnings on words such as NA that are taken for missing values in columns of texts, where they may be categories."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pandas as pd

from trainer.config.values import MISSING_VALUES
from trainer.util.text import listed

#: Nothing is no word.
_WORDS = [word for word in MISSING_VALUES if word]


def missing_words_warning(path: Path, table: pd.DataFrame, *, is_csv: bool) -> str | None:
    """Return a warning on words that are taken for missing values in a file's columns of texts, or None.

    Args:
        path: The file.
        table: What was read from it: of a CSV file, such words are missing values already.
        is_csv: Whether it is one.
    """
    texts = [name for name in table.columns if isinstance(table[name].dtype, pd.StringDtype)]
    if is_csv:
        texts = [name for name in texts if table[name].isna().any()]
        if not texts:
            return None
        # Once more, as they are written.
        table = pd.read_csv(
            path, usecols=texts, dtype="str", keep_default_na=False, index_col=False, encoding="utf-8-sig"
        )
    found: Counter[str] = Counter()
    columns = []
    for name in texts:
        counts = table[name][table[name].isin(_WORDS)].value_counts()
        if len(counts):
            columns.append(name)
            found.update({str(word): int(count) for word, count in counts.items()})
    if not columns:
        return None
    words = listed((f"{word} ({count:,} times)" for word, count in found.most_common()), 3)
    plural = "s" if len(columns) > 1 else ""
    return f"{path.name}: {words} in column{plural} {listed(columns)} is taken for a missing value, not for a category"
