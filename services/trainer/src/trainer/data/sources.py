"""Reads the training data and makes it uniform: one table for training, one for testing, checked before a run exists.

Three sources: a folder with ``X_train.csv``, ``X_test.csv``, ``y_train.csv`` and ``y_test.csv``; one CSV or Parquet
table with a target column, which is split here; and, without any data, generated sessions. Whatever the source,
features end up as numbers (float64), booleans, or text, and the target as 0 and 1.
"""

from __future__ import annotations

import csv
import difflib
import hashlib
import io
import itertools
import re
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from trainer.data import demo as sessions
from trainer.util.errors import InputError, one_line

if TYPE_CHECKING:
    from numpy.typing import NDArray

Kind = Literal["number", "boolean", "text"]

PARTS = ("X_train", "X_test", "y_train", "y_test")
TABLE_SUFFIXES = (".csv", ".csv.gz", ".parquet", ".pq")
EXPECTED = (
    "X_train.csv, X_test.csv, y_train.csv and y_test.csv, or exactly one .csv or .parquet table (with --target NAME)"
)
#: Both classes need a row each in the training, validation and test part.
FEWEST_PER_CLASS = 3
#: A text column with more distinct values than this is most likely an identifier.
MANY_CATEGORIES = 1_000

_TRUTH = {"1": 1, "0": 0, "1.0": 1, "0.0": 0, "true": 1, "false": 0, "yes": 1, "no": 0, "t": 1, "f": 0, "y": 1, "n": 0}
#: A text column with no more numbers or dates than this most likely holds codes.
_CODES = 10
_PLAIN_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_COMMA_NUMBER = (
    r"[-+]?(?:\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d{1,3}(?:\.\d{3})*,\d+|\d+,\d+|\d{1,3}(?:[\s'\u2019]\d{3})+(?:[.,]\d+)?)"
)
#: What pandas takes for a gap in a CSV file. It is one in every format: a model of the one scores the other alike.
GAPS = (
    *("", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN"),
    *("<NA>", "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null"),
)
#: A number as people write it: 12.5 %, $1,234.50, (3.20).
_DRESSED_NUMBER = rf"\(?[-+]?[$€£¥]?\s?(?:{_PLAIN_NUMBER}|{_COMMA_NUMBER})\s?[%$€£¥]?\)?"
#: What stands for a gap in exports of databases and spreadsheets, and is none to pandas.
_GAP_WORDS = {"", "\\N", "?", "-", "--", ".", "#DIV/0!", "#NAME?", "#NUM!", "#REF!", "#VALUE!"}
_MONTH = r"[^\W\d_]{3,9}"
_DATE = (
    rf"(?:{_MONTH},? )?"  # a day of the week
    r"(?:\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|(?:19|20)\d\d[-/]\d{1,2}|\d{1,2}[-/.]\d{1,2}[-/.]\d{4}|\d{1,2}/\d{1,2}/\d{2}"
    rf"|\d{{1,2}}[-/. ]{{1,2}}{_MONTH}[-/ ]\d{{2,4}}|{_MONTH} \d{{1,2}},? \d{{4}})(?:[ T,]|$)"
)
#: The index of rows that pandas writes without a name, and what it calls it when it reads a file; of two, 0.1 and 0.
_INDEX = re.compile(r"(?:Unnamed: 0(?:\.\d+)?)?")
_IGNORED = {"readme.md", "readme", "readme.txt", "lost+found"}


@dataclass(frozen=True)
class Table:
    """Features and target of the same rows: ``features`` is (rows, columns), ``target`` an int64 array of 0 and 1."""

    features: pd.DataFrame
    target: NDArray[np.int64]

    @property
    def rows(self) -> int:
        """How many rows the table has."""
        return len(self.target)

    def take(self, index: NDArray[np.int64]) -> Table:
        """Return the rows at the positions ``index``."""
        return Table(self.features.iloc[index].reset_index(drop=True), self.target[index])


@dataclass(frozen=True)
class Dataset:
    """The data of a training: what it is called, where it came from, and its training and test tables.

    ``digest`` and ``test_digest`` are SHA-256 digests (32 hexadecimal digits) of the parsed contents of the training
    and the test table. ``notes`` are remarks for the user on what was done to the data.
    """

    name: str
    source: str
    target: str
    kinds: dict[str, Kind]
    train: Table
    test: Table
    digest: str
    test_digest: str
    generated: bool = False
    test_size: float | None = None
    seed: int | None = None
    notes: tuple[str, ...] = ()

    def columns(self, kind: Kind) -> list[str]:
        """Return the names of the features of one kind, in their order."""
        return [name for name, its_kind in self.kinds.items() if its_kind == kind]


def load(
    path: Path | None = None,
    *,
    target: str | None = None,
    test_size: float = 0.2,
    seed: int = 42,
    rows: int | None = None,
) -> Dataset:
    """Return the data at ``path``, or generated sessions where there are none.

    Args:
        path: A folder, a CSV or a Parquet file. None, or a folder without data, stands for the generator.
        target: The target column's name; required for a single table.
        test_size: The share of a single table's rows (0 to 1) that is held out, stratified by class.
        seed: Seeds that split and the generator.
        rows: How many sessions to generate.

    Raises:
        InputError: The data is not there, cannot be read, or cannot be trained on; the message says what and where.
    """
    if path is None:
        return _generated(test_size, seed, rows, "no data given (--data)")
    try:
        if path.is_dir():
            names = sorted(entry.name for entry in path.iterdir() if not _is_ignored(entry))
            if not names:
                return _generated(test_size, seed, rows, f"{path} holds no data")
            return _from_folder(path, names, target, test_size, seed)
        if not path.exists():
            raise InputError(f"{path}: no such file or folder (--data)")
    except PermissionError:
        raise InputError(f"{path}: permission denied; user {_user()} must be able to read it") from None
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or one_line(error)}") from None
    return _from_table(path, target, test_size, seed)


def stratified_split(target: NDArray[np.int64], share: float, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the positions of the rows that stay and of those that are held out, both ascending.

    Args:
        target: The classes, 0 and 1.
        share: The share of each class (0 to 1) that is held out; at least one row of each stays and is held out.
        seed: The seed of the shuffle.
    """
    rng = np.random.default_rng(seed)
    held_out = []
    for label in (0, 1):
        positions = rng.permutation(np.flatnonzero(target == label))
        count = min(max(round(share * len(positions)), 1), len(positions) - 1)
        held_out.append(positions[:count])
    out = np.sort(np.concatenate(held_out))
    stay = np.setdiff1d(np.arange(len(target)), out, assume_unique=True)
    return stay.astype(np.int64), out.astype(np.int64)


def binary_target(values: pd.Series, label: str) -> NDArray[np.int64]:
    """Return a target column as 0 and 1.

    Args:
        values: Numbers 0 and 1, booleans, or texts such as true/false and yes/no in any case.
        label: How messages name the column.

    Raises:
        InputError: Values are missing, are of other than two classes, or are all of one class.
    """
    missing = values.isna().to_numpy()
    if missing.any():
        first = int(np.flatnonzero(missing)[0]) + 1
        raise InputError(
            f"{label}: {int(missing.sum())} of {len(values)} values are missing (the first in row {first});"
            " remove those rows or fill them in"
        )
    texts = values.astype("str").str.strip().str.lower()
    found = {str(text): _TRUTH.get(str(text)) for text in texts.unique()}
    if None in found.values():
        shown = ", ".join(sorted(str(value) for value in values.unique()[:5]))
        more = ", …" if len(found) > 5 else ""
        raise InputError(
            f"{label}: the target must have two classes, written as 0/1, true/false or yes/no;"
            f" found {len(found)} value{'s' if len(found) != 1 else ''}: {shown}{more}"
        )
    result = texts.map(found).to_numpy(dtype=np.int64)
    if len(set(found.values())) < 2:
        raise InputError(
            f"{label}: all {len(values)} rows are of one class ({values.iloc[0]}); both classes are needed"
        )
    return result


def digest(features: pd.DataFrame, target: NDArray[np.int64]) -> str:
    """Return a SHA-256 digest (32 hexadecimal digits) of a table's contents.

    It depends on column names, kinds, values and their order; not on the file's format or on pandas' own types.
    """
    state = hashlib.sha256()
    for name in features.columns:
        column = features[name]
        numeric = column.dtype == np.float64
        state.update(f"{'number' if numeric else 'category'}:{len(name)}:{name}:".encode())
        if numeric:
            # Adding zero makes -0.0 and 0.0 alike; all missing values become the same bit pattern.
            numbers = column.to_numpy() + 0.0
            numbers[np.isnan(numbers)] = np.nan
            state.update(np.ascontiguousarray(numbers, dtype="<f8").tobytes())
        else:
            codes, categories = pd.factorize(column, sort=False)
            state.update(np.ascontiguousarray(codes, dtype="<i8").tobytes())
            for category in categories:
                text = str(category)
                state.update(f"{len(text)}:{text}".encode())
    state.update(b"target:" + target.astype("<i8").tobytes())
    return state.hexdigest()[:32]


# The three sources ----------------------------------------------------------------------------------------------------


def _generated(test_size: float, seed: int, rows: int | None, why: str) -> Dataset:
    table = sessions.generate(rows or sessions.ROWS, seed)
    return _split_table(
        table,
        name="generated-sessions",
        source=f"trainer.data.demo.generate(rows={len(table)}, seed={seed})",
        target=sessions.TARGET,
        test_size=test_size,
        seed=seed,
        notes=[f"{why}: training on {len(table):,} generated web-shop sessions (seed {seed})"],
        generated=True,
    )


def _from_folder(path: Path, names: Sequence[str], target: str | None, test_size: float, seed: int) -> Dataset:
    files = [f"{part}.csv" for part in PARTS]
    present = [name for name in files if name in names]
    if len(present) == len(files):
        return _from_four(path, target)
    if present:
        missing = ", ".join(name for name in files if name not in present)
        raise InputError(f"{path}: {missing} missing beside {', '.join(present)}; expected {EXPECTED}")
    tables = [name for name in names if name.lower().endswith(TABLE_SUFFIXES)]
    if len(tables) == 1:
        return _from_table(path / tables[0], target, test_size, seed)
    if tables and all(name.startswith("part-") for name in tables):
        raise InputError(
            f"{path}: holds one table in {len(tables)} files ({listed(tables, 2)});"
            " write it as one, in Spark by coalesce(1)"
        )
    if tables:
        raise InputError(
            f"{path}: holds {len(tables)} tables ({listed(tables)}); name one of them with --data, or keep {EXPECTED}"
        )
    raise InputError(f"{path}: holds {listed(names)}, which is no data; expected {EXPECTED}")


def _from_four(path: Path, target: str | None) -> Dataset:
    notes: list[str] = []
    files = [path / "X_train.csv", path / "X_test.csv"]
    x_train, x_test = (_read(file, notes) for file in files)
    if codes := _codes(x_train, x_test):
        x_train, x_test = (_read(file, [], codes) for file in files)
    y_train, y_test = (_one_column(path / f"{part}.csv", notes) for part in ("y_train", "y_test"))
    name = str(y_train.name)
    if y_test.name != y_train.name:
        raise InputError(f"{path}: y_train.csv holds {name!r} but y_test.csv holds {str(y_test.name)!r}")
    if target is not None and target != name:
        raise InputError(f"{path}: y_train.csv holds {name!r}, not the target {target!r} (--target)")
    for part, x, y in (("train", x_train, y_train), ("test", x_test, y_test)):
        if len(x) != len(y):
            raise InputError(f"{path}: X_{part}.csv has {len(x)} rows but y_{part}.csv has {len(y)}")
        # One of them may have been numbered anew, or have no index; the same numbers in another order are other rows.
        written = x.index.name is not None and y.index.name is not None
        if written and not x.index.equals(y.index) and x.index.sort_values().equals(y.index.sort_values()):
            raise InputError(
                f"{path}: X_{part}.csv and y_{part}.csv hold the same index in different orders; sort them alike"
            )
        if name in x.columns:
            raise InputError(f"{path / f'X_{part}.csv'}: holds the target {name!r} as a feature; remove it")
    train = Table(x_train, binary_target(y_train, f"{path / 'y_train.csv'}: {name}"))
    test = Table(x_test, binary_target(y_test, f"{path / 'y_test.csv'}: {name}"))
    _check_sizes(train.target, f"{path / 'y_train.csv'}: {name}", FEWEST_PER_CLASS - 1)
    return _uniform(train, test, name=path.resolve().name, source=str(path.resolve()), target=name, notes=notes)


def _codes(train: pd.DataFrame, test: pd.DataFrame) -> list[str]:
    """Return the columns that are text in one table and all digits in the other: as a number, 007 would become 7."""
    pairs = ((name, {train[name].dtype.kind, test[name].dtype.kind}) for name in train.columns if name in test.columns)
    return [name for name, kinds in pairs if len(kinds) > 1 and kinds & {"i", "u", "f"} and not kinds & {"b"}]


def _from_table(path: Path, target: str | None, test_size: float, seed: int) -> Dataset:
    notes: list[str] = []
    table = _read(path, notes)
    if target is None:
        raise InputError(f"{path}: name its target column with --target; its columns are {listed(table.columns)}")
    if target not in table.columns:
        close = difflib.get_close_matches(target, [str(name) for name in table.columns], n=1)
        hint = f"; did you mean {close[0]!r}?" if close else f"; its columns are {listed(table.columns)}"
        raise InputError(f"{path}: has no target column {target!r}{hint}")
    return _split_table(
        table,
        name=path.name.split(".")[0],
        source=str(path.resolve()),
        target=target,
        test_size=test_size,
        seed=seed,
        notes=notes,
    )


def _split_table(
    table: pd.DataFrame,
    *,
    name: str,
    source: str,
    target: str,
    test_size: float,
    seed: int,
    notes: list[str],
    generated: bool = False,
) -> Dataset:
    label = f"{source}: {target}"
    labels = binary_target(table[target], label)
    _check_sizes(labels, label, FEWEST_PER_CLASS)
    features = table.drop(columns=target)
    stay, out = stratified_split(labels, test_size, seed)
    whole = Table(features, labels)
    train, test = whole.take(stay), whole.take(out)
    _check_sizes(train.target, f"{label}: the training part (--test-size {test_size:g})", FEWEST_PER_CLASS - 1)
    return _uniform(
        train,
        test,
        name=name,
        source=source,
        target=target,
        notes=notes,
        generated=generated,
        test_size=test_size,
        seed=seed,
    )


def _uniform(train: Table, test: Table, *, source: str, notes: list[str], **rest: Any) -> Dataset:
    """Return the data set with the features of both tables brought to the same columns and kinds."""
    columns = list(train.features.columns)
    missing = [name for name in columns if name not in test.features.columns]
    extra = [name for name in test.features.columns if name not in columns]
    if missing or extra:
        parts = [f"{listed(missing)} only in X_train"] if missing else []
        parts += [f"{listed(extra)} only in X_test"] if extra else []
        raise InputError(f"{source}: train and test have different columns: {'; '.join(parts)}")
    if not columns:
        raise InputError(f"{source}: has no feature columns")
    kinds: dict[str, Kind] = {}
    converted: tuple[dict[str, pd.Series], dict[str, pd.Series]] = ({}, {})
    for name in columns:
        label = f"{source}: column {name!r}"
        kind = _kind([train.features[name], test.features[name]], label)
        kinds[name] = kind
        for part, table in zip(converted, (train, test), strict=True):
            part[name] = _convert(table.features[name], kind)
        if kind == "text":
            texts = [part[name] for part in converted]
            # Parts of one table are written alike.
            apart = "test_size" not in rest
            if (remark := _remark(texts) or (_strange(*texts) if apart else None)) is not None:
                notes.append(f"column {name!r} {remark}")
    empty = [name for name, column in converted[0].items() if column.isna().all()]
    if len(empty) == len(columns):
        raise InputError(f"{source}: every feature value is missing")
    if empty:
        notes.append(f"no training row has a value in column{'s' if len(empty) > 1 else ''} {listed(empty)}")
    x_train, x_test = (pd.DataFrame(part, columns=columns) for part in converted)
    return Dataset(
        source=source,
        kinds=kinds,
        train=Table(x_train, train.target),
        test=Table(x_test, test.target),
        digest=digest(x_train, train.target),
        test_digest=digest(x_test, test.target),
        notes=tuple(notes),
        **rest,
    )


# Columns --------------------------------------------------------------------------------------------------------------


def _kind(columns: Sequence[pd.Series], label: str) -> Kind:
    """Return the kind of a feature, judged by its values in both tables."""
    kinds = {kind for column in columns if (kind := _kind_of(column, label)) is not None}
    if not kinds:
        return "number"
    if len(kinds) == 1:
        return kinds.pop()
    # Codes that happen to be all digits in one table are text all the same; a boolean among numbers is a mistake.
    if "text" in kinds and "boolean" not in kinds:
        return "text"
    raise InputError(f"{label} mixes {' and '.join(sorted(kinds))} values; write it the same way in all rows")


def _kind_of(column: pd.Series, label: str) -> Kind | None:
    """Return the kind of one table's column, or None where all its values are missing."""
    values = column.dropna()
    if values.empty:
        return None
    if isinstance(column.dtype, pd.CategoricalDtype):
        values = values.astype(column.dtype.categories.dtype)
    types = pd.api.types
    if types.is_bool_dtype(values.dtype):
        return "boolean"
    if types.is_numeric_dtype(values.dtype) and not types.is_complex_dtype(values.dtype):
        return "number"
    if types.is_string_dtype(values.dtype) and values.dtype != object:
        return "text"
    if values.dtype == object:
        found = set(values.map(type).unique())
        if found <= {bool, np.bool_}:
            return "boolean"
        if found <= {int, float, Decimal, np.int64, np.float64}:
            return "number"
        if found <= {str, int, float, bool}:
            return "text"
    what = values.iloc[0].__class__.__name__ if values.dtype == object else str(values.dtype)
    raise InputError(f"{label} holds {what} values; turn them into numbers, booleans or text first")


def _convert(column: pd.Series, kind: Kind) -> pd.Series:
    column = column.reset_index(drop=True)
    if kind == "number":
        return column.astype("float64")
    if kind == "boolean":
        values = column.astype(object)
        if values.isna().any():
            return values.where(values.notna(), np.nan)
        return values.astype(bool)
    values = column.astype(object)
    missing = values.isna() | values.isin(GAPS)
    return pd.Series(
        [np.nan if gap else category_text(value) for value, gap in zip(values, missing, strict=True)],
        dtype="str",
        name=column.name,
    )


def _remark(columns: Sequence[pd.Series]) -> str | None:
    """Return a remark on a text column that may have been meant as something else, or None."""
    texts = pd.Series(pd.concat(columns).dropna().unique(), dtype="str")
    stripped = texts.str.strip()
    if set(stripped.str.lower()) >= {"true", "false"}:
        others = texts[~texts.str.lower().isin(("true", "false"))]
        # Where there are none, the file itself says that they are text.
        if others.empty:
            return None
        example = one_line(repr(others.iloc[0]), 40)
        return (
            f"is taken as text, each value a category, because of values such as {example} beside true and false"
            " (write a gap as nothing)"
        )
    plain = stripped.str.fullmatch(_PLAIN_NUMBER)
    numbers = stripped.str.fullmatch(_DRESSED_NUMBER)
    # Where all are plain, the file itself says that they are text.
    if not plain.all() and (_most(numbers) or (plain.any() and set(stripped[~plain]) <= _GAP_WORDS)):
        example = one_line(repr(str(texts[~plain].iloc[0])), 40)
        return (
            f"is taken as text, each value a category, because of values such as {example};"
            f" {int(numbers.sum()):,} of its {len(texts):,} distinct values look like numbers"
            " (write digits alone, decimals with a point, and a gap as nothing)"
        )
    if _most(stripped.str.match(_DATE)):
        return "is taken as text, each value a category, but looks like dates: later ones are unknown to the model"
    if len(texts) > MANY_CATEGORIES:
        return f"has {len(texts):,} distinct texts: if it identifies rows, leave it out"
    return None


def _strange(train: pd.Series, test: pd.Series) -> str | None:
    """Return a remark where most texts of the test rows are in no training row, or None."""
    given = test.dropna()
    strange = given[~given.isin(train.dropna().unique())]
    return unknown_texts(len(strange), len(given), "test rows", strange.iloc[0]) if len(strange) else None


def unknown_texts(strange: int, given: int, rows: str, example: str) -> str | None:
    """Return a remark where a model knows less than half of the texts in a column, or None: a few are always new."""
    if 2 * strange <= given:
        return None
    return (
        f"holds texts in {strange:,} of {given:,} {rows} that no training row has, such as"
        f" {one_line(repr(example), 40)}: the model takes them for gaps"
    )


def _most(found: pd.Series) -> bool:
    """Tell whether most values are of a kind; a few may well be codes, such as 0, 1, 2 and 3+."""
    return bool(found.sum() > max(_CODES, len(found) / 2))


def category_text(value: object) -> str:
    """Return a category as text; a whole number reads the same whether or not its column has missing values."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _check_sizes(labels: NDArray[np.int64], label: str, fewest: int) -> None:
    counts = np.bincount(labels, minlength=2)
    rarer = int(np.argmin(counts))
    if counts[rarer] < fewest:
        raise InputError(
            f"{label}: too few rows to split: {len(labels)} rows, of class {rarer} only {counts[rarer]};"
            f" each class needs at least {fewest}"
        )


# Files ----------------------------------------------------------------------------------------------------------------


def csv_header(path: Path) -> list[str]:
    """Return the names in the header of a CSV file.

    Args:
        path: A .csv or .csv.gz file.

    Raises:
        InputError: It does not name columns, each once, separated by commas.
    """
    with readable(path):
        with _open_text(path) as stream:
            head = stream.readline()
            first = stream.readline()
            if not head.strip():
                raise InputError(
                    f"{path}: is empty"
                    if not first.strip()
                    else f"{path}: its first line is empty; it must name the columns"
                )
            if "\x00" in head:
                raise InputError(f"{path}: is not a text file; expected comma-separated text")
            # A name in quotes may hold lines' ends.
            header = next(csv.reader(itertools.chain((head, first), stream)))
        if len(header) == 1:
            for separator, word in ((";", "semicolons"), ("\t", "tabs"), ("|", "vertical bars")):
                if separator in head:
                    raise InputError(f"{path}: its columns are separated by {word}; expected commas")
        # Columns without a name are what commas at the lines' ends make.
        check_unique(path, filter(None, header))
    return header


def _one_column(path: Path, notes: list[str]) -> pd.Series:
    table = _read(path, notes)
    if table.shape[1] != 1:
        raise InputError(f"{path}: must have one column, the target; it has {listed(table.columns)}")
    return table.iloc[:, 0]


def _read(path: Path, notes: list[str], texts: Iterable[str] = ()) -> pd.DataFrame:
    """Return a file's table, without the index that pandas may have written; columns in ``texts`` as they are."""
    name = path.name.lower()
    if not name.endswith(TABLE_SUFFIXES):
        raise InputError(f"{path}: unknown kind of file; expected one of {', '.join(TABLE_SUFFIXES)}")
    with readable(path):
        table = _read_parquet(path, notes) if name.endswith((".parquet", ".pq")) else _read_csv(path, texts)
    if table.columns.empty:
        raise InputError(f"{path}: has no columns")
    if table.empty:
        raise InputError(f"{path}: has a header but no rows")
    return _without_unnamed(table, path, notes)


def is_index(name: str) -> bool:
    """Tell whether a first column's name is that of an index which pandas wrote."""
    return _INDEX.fullmatch(name) is not None


def _without_unnamed(table: pd.DataFrame, path: Path, notes: list[str]) -> pd.DataFrame:
    """Return a table without the indexes that pandas wrote, and the empty columns that commas at lines' ends make."""
    names = [str(name) for name in table.columns]
    # At least one column stays.
    indexes = len(list(itertools.takewhile(is_index, names[:-1])))
    if indexes:
        what = "column is taken for an index" if indexes == 1 else f"{indexes} columns are taken for indexes"
        notes.append(f"{path.name}: its unnamed first {what} and left out")
    unnamed = [place for place, name in enumerate(names) if place >= indexes and name in ("", f"Unnamed: {place}")]
    for place in unnamed:
        if table[names[place]].notna().any():
            raise InputError(f"{path}: column {place + 1} has no name; name it, or remove it")
    if len(unnamed) == 1:
        notes.append(f"{path.name}: its column {unnamed[0] + 1} has no name and no values, and is left out")
    elif unnamed:
        notes.append(f"{path.name}: {len(unnamed)} of its columns have no name and no values, and are left out")
    kept = table.drop(columns=[*names[:indexes], *(names[place] for place in unnamed)])
    if indexes:
        kept.index = pd.Index(table.iloc[:, 0], name=names[0])
    return kept


def _read_csv(path: Path, texts: Iterable[str]) -> pd.DataFrame:
    csv_header(path)
    with warnings.catch_warnings():
        # A line with more fields than the header is a mistake to report, not data to drop.
        warnings.simplefilter("error", pd.errors.ParserWarning)
        types = dict.fromkeys(texts, "str")
        try:
            table = pd.read_csv(path, index_col=False, low_memory=False, encoding="utf-8-sig", dtype=types)
        except (pd.errors.ParserError, pd.errors.ParserWarning):
            _check_fields(path)
            raise
    # pandas makes gaps of what a row lacks.
    if table.iloc[:, -1].isna().any():
        _check_fields(path)
    return table


def _check_fields(path: Path) -> None:
    with _open_text(path) as stream:
        if (wrong := uneven(stream, slack=True)) is not None:
            raise InputError(f"{path}: {wrong}")


def uneven(lines: Iterable[str], *, slack: bool = False) -> str | None:
    """Return what is wrong with a CSV table of which a row has more or fewer fields than the header, or None.

    With ``slack``, commas at a row's end are left out, as pandas does.
    """
    rows = (row for row in csv.reader(lines) if len(row) > 1 or (row and row[0].strip()))
    # What the csv module refuses, such as a field of 200 kB, is for the table's own reader to judge.
    with suppress(csv.Error):
        width = len(next(rows, []))
        for number, row in enumerate(rows, start=1):
            if len(row) < width or (len(row) > width and not (slack and not any(row[width:]))):
                return misfit(number, len(row), width)
    return None


def misfit(row: int, fields: int, width: int) -> str:
    """Return what is wrong with a row that has another number of fields than the header."""
    advice = "complete it, or remove it" if fields < width else "a field that holds a comma needs quotes"
    return f"row {row:,} has {fields} field{'s' if fields != 1 else ''}, the header {width}; {advice}"


def _read_parquet(path: Path, notes: list[str]) -> pd.DataFrame:
    import pyarrow.parquet

    if path.stat().st_size == 0:
        raise InputError(f"{path}: is empty")
    check_unique(path, pyarrow.parquet.read_schema(path).names)
    table = pd.read_parquet(path)
    if index := [str(name) for name in table.index.names if name is not None]:
        notes.append(f"{path.name}: its pandas index {listed(index)} is left out")
    table = table.reset_index(drop=True)
    table.columns = pd.Index([str(name) for name in table.columns])
    return table


def _open_text(path: Path) -> io.TextIOBase:
    if path.name.lower().endswith(".gz"):
        import gzip

        return io.TextIOWrapper(gzip.open(path), encoding="utf-8-sig", newline="")
    return path.open(encoding="utf-8-sig", newline="")


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turn whatever reading a file raises into one line that names the file."""
    try:
        yield
    except InputError:
        raise
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except PermissionError:
        raise InputError(f"{path}: permission denied; user {_user()} must be able to read it") from None
    except IsADirectoryError:
        raise InputError(f"{path}: is a folder; expected a file") from None
    except UnicodeDecodeError:
        raise InputError(f"{path}: is not UTF-8 text{_place(path)}; save it as UTF-8") from None
    except pd.errors.EmptyDataError:
        raise InputError(f"{path}: is empty") from None
    except (pd.errors.ParserError, pd.errors.ParserWarning, csv.Error) as error:
        raise InputError(f"{path}: cannot be read as comma-separated text: {one_line(error, 200)}") from None
    except MemoryError:
        raise InputError(f"{path}: does not fit into memory") from None
    except (OSError, ValueError, EOFError) as error:  # pyarrow's and zlib's errors are among these
        raise InputError(f"{path}: cannot be read: {one_line(error, 200)}") from None


def _place(path: Path) -> str:
    """Return which line of a file is not UTF-8: errors count from wherever a reader's buffer began."""
    import gzip

    with (gzip.open if path.name.lower().endswith(".gz") else open)(path, "rb") as stream:
        for number, line in enumerate(stream, start=1):
            try:
                line.decode()
            except UnicodeDecodeError:
                return f" (line {number:,})"
    return ""


def check_unique(path: Path, names: Iterable[str]) -> None:
    """Refuse a table in which two columns have the same name."""
    seen: set[str] = set()
    twice = [name for name in names if name in seen or seen.add(name)]  # type: ignore[func-returns-value]
    if twice:
        raise InputError(f"{path}: column {twice[0]!r} appears more than once; columns need names of their own")


def _is_ignored(entry: Path) -> bool:
    # Variants, spaces and policies may lie beside the data, or where there are none.
    name = entry.name.lower()
    return name.startswith(".") or name in _IGNORED or name.endswith((".yaml", ".yml"))


def listed(names: Iterable[object], most: int = 8) -> str:
    """Return names separated by commas; of more than ``most`` only the first, and how many there are."""
    texts = [str(name) for name in names]
    return ", ".join(texts[:most]) + (f", … ({len(texts)} in all)" if len(texts) > most else "")


def _user() -> str:
    import os

    return str(os.getuid()) if hasattr(os, "getuid") else "running this"
