"""Words such as NA that are missing values in columns of texts, and warnings where they may be categories."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from trainer.config.csv_form import CsvForm
from trainer.config.values import MISSING_VALUES
from trainer.data.buckets import Place
from trainer.data.csv_file import as_written, is_text
from trainer.util.text import listed


def missing_values(column: pd.Series, form: CsvForm) -> pd.Series:
    """Tell for each value of a target, a weight, a time or a group whether it is missing.

    In texts, a word for a missing value is one, with white space around it too, and so is white space alone.
    """
    column = _plain(column)
    missing = column.isna()
    return missing | column.str.strip().isin(form.text_gaps) if is_text(column) else missing


def missing_words_warning(path: Place, table: pd.DataFrame, form: CsvForm, *, is_csv: bool) -> str | None:
    """Return a warning on words that are taken for missing values in a file's columns of texts, or None.

    Args:
        path: The file.
        table: What was read from it: of a CSV file, such words are missing values already.
        form: Which words were named, one way or the other: they are not warned of.
        is_csv: Whether it is one.
    """
    words = _words(form)
    table = pd.DataFrame({name: _plain(table[name]) for name in table.columns})
    texts = [name for name in table.columns if is_text(table[name])]
    if is_csv:
        texts = [name for name in texts if table[name].isna().any()]
        # Once more, as they are written.
        table = as_written(path, form, texts)
    # A column that holds nothing else has no type yet: its words are missing values wherever it is read.
    texts = [name for name in texts if not table[name].dropna().isin(form.text_gaps).all()]
    counts = {name: table[name][table[name].isin(words)].value_counts() for name in texts}
    return _warning(path, {name: {str(word): int(n) for word, n in found.items()} for name, found in counts.items()})


class MissingWords:
    """The same warnings on a table that is read in passes: its chunks are added in one of them."""

    def __init__(self, form: CsvForm, names: Iterable[str]) -> None:
        """Count in the columns ``names``, those of texts."""
        self._names = list(names)
        self._words, self._gaps = pa.array(_words(form)), pa.array(form.text_gaps)
        self._counts: dict[Place, dict[str, Counter[str]]] = {}
        #: The columns of each file that hold a text.
        self._texts: dict[Place, set[str]] = {}

    def add(self, path: Place, chunk: pa.RecordBatch) -> None:
        """Add a chunk of a file, as it is written."""
        counts, texts = self._counts.setdefault(path, {}), self._texts.setdefault(path, set())
        for name in self._names:
            column = chunk.column(name)
            held = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
            if not (pa.types.is_string(held) or pa.types.is_large_string(held) or pa.types.is_string_view(held)):
                continue
            column = column.cast(pa.string())
            found = column.filter(pc.is_in(column, value_set=self._words))
            for entry in found.value_counts().to_pylist():
                counts.setdefault(name, Counter())[entry["values"]] += entry["counts"]
            if name not in texts and not pc.all(pc.is_in(column.drop_null(), value_set=self._gaps)).as_py():
                texts.add(name)

    def warnings(self) -> list[str]:
        """Return the warnings, one for each file at most."""
        return [
            warning
            for path, counts in self._counts.items()
            # A column that holds nothing else has no type yet: its words are missing values wherever it is read.
            if (
                warning := _warning(
                    path, {name: counts[name] for name in self._names if name in counts and name in self._texts[path]}
                )
            )
        ]


def _plain(column: pd.Series) -> pd.Series:
    """Return a column with its values in place of the codes of categories."""
    held = column.dtype
    return column.astype(held.categories.dtype) if isinstance(held, pd.CategoricalDtype) else column


def _words(form: CsvForm) -> list[str]:
    """Return the words to warn of; nothing is no word."""
    return [word for word in MISSING_VALUES if word and word not in form.not_missing]


def _warning(path: Place, counts: Mapping[str, Mapping[str, int]]) -> str | None:
    columns = [name for name, words in counts.items() if words]
    if not columns:
        return None
    found = sum((Counter(words) for words in counts.values()), Counter())
    most = sorted(found.items(), key=lambda entry: (-entry[1], entry[0]))
    shown = listed((f"{word} ({count:,} times)" for word, count in most), 3)
    plural = "s" if len(columns) > 1 else ""
    return (
        f"{path.name}: {shown} in column{plural} {listed(columns)} is taken for a missing value, not for a category"
        f" (--not-missing {most[0][0]} makes it one)"
    )
