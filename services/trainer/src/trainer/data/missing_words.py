"""Warnings on words such as NA that are taken for missing values in columns of texts, where they may be categories."""

from __future__ import annotations

from collections import Counter

import pandas as pd

from trainer.config.csv_form import CsvForm
from trainer.config.values import MISSING_VALUES
from trainer.data.buckets import Place
from trainer.data.csv_file import as_written, is_text
from trainer.util.text import listed


def missing_words_warning(path: Place, table: pd.DataFrame, form: CsvForm, *, is_csv: bool) -> str | None:
    """Return a warning on words that are taken for missing values in a file's columns of texts, or None.

    Args:
        path: The file.
        table: What was read from it: of a CSV file, such words are missing values already.
        form: Which words were named, one way or the other: they are not warned of.
        is_csv: Whether it is one.
    """
    # Nothing is no word.
    words = [word for word in MISSING_VALUES if word and word not in form.not_missing]
    texts = [name for name in table.columns if is_text(table[name])]
    if is_csv:
        texts = [name for name in texts if table[name].isna().any()]
        # Once more, as they are written.
        table = as_written(path, form, texts)
    found: Counter[str] = Counter()
    columns = []
    for name in texts:
        counts = table[name][table[name].isin(words)].value_counts()
        if len(counts):
            columns.append(name)
            found.update({str(word): int(count) for word, count in counts.items()})
    if not columns:
        return None
    shown = listed((f"{word} ({count:,} times)" for word, count in found.most_common()), 3)
    plural = "s" if len(columns) > 1 else ""
    return (
        f"{path.name}: {shown} in column{plural} {listed(columns)} is taken for a missing value, not for a category"
        f" (--not-missing {found.most_common(1)[0][0]} makes it one)"
    )
