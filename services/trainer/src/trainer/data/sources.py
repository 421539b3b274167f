"""Reads the training data and makes it uniform: one table for training, one for testing, checked before a run exists.

The sources: a folder with ``X_train.csv``, ``X_test.csv``, ``y_train.csv`` and ``y_test.csv``; one CSV or Parquet
table, in one file or in parts, with a target column, which is split here, or has a second one for testing beside it;
and, without any data, generated sessions. Whatever the source, features end up as numbers (float64), booleans, or text,
and the target as codes of classes or as numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from trainer.config.csv_form import CsvForm
from trainer.config.defaults import TEST_SIZE
from trainer.config.stream import Stream
from trainer.config.task import Label, TaskName
from trainer.config.values import ColumnType
from trainer.data import demo
from trainer.data.buckets import Place, table_place
from trainer.data.column_roles import ColumnRoles
from trainer.data.dataset import Dataset
from trainer.data.demo import generate_sessions
from trainer.data.file_errors import readable
from trainer.data.four_files import PARTS, from_four
from trainer.data.one_table import from_table, split_table
from trainer.data.reading import Reading
from trainer.data.table_files import TableFiles, folder_parts, is_pattern, is_table, no_such_table, table_files
from trainer.data.two_tables import with_test_file
from trainer.util.errors import InputError
from trainer.util.text import listed

EXPECTED = (
    "X_train.csv, X_test.csv, y_train.csv and y_test.csv, or one .csv or .parquet table, or its parts"
    " (with --target NAME)"
)

_IGNORED = {"readme.md", "readme", "readme.txt", "lost+found"}


def load_data(
    path: Place | str | None = None,
    *,
    target: str | None = None,
    test_size: float = TEST_SIZE,
    seed: int = 42,
    rows: int | None = None,
    column_types: Mapping[str, ColumnType] | None = None,
    drop: Sequence[str] = (),
    categorical: Sequence[str] = (),
    positive: str | None = None,
    weight: str | None = None,
    time: str | None = None,
    group: str | None = None,
    test: Place | str | None = None,
    monotone: Mapping[str, int] | None = None,
    csv: CsvForm | None = None,
    task: TaskName | None = None,
    classes: Sequence[Label] | None = None,
    stream: Stream = "never",
) -> Dataset:
    """Return the data at ``path``, or generated sessions where there are none.

    Args:
        path: A CSV or a Parquet file, a folder, or a pattern such as ``june/*.csv``. None, or a folder without data,
            stands for the generator.
        target: The target column's name; required for a single table.
        test_size: The share of a single table's rows (0 to 1) that is held out, stratified by class.
        seed: Seeds that split and the generator.
        rows: How many sessions to generate.
        column_types: The features to read and their types, as a model was trained on them; by default all columns are
            read, and their values tell their types.
        drop: Columns to leave out.
        categorical: Columns of which each value is a category, whole numbers too.
        positive: The positive class's value, where the target has two values such as 1 and 2, or good and bad.
        weight: The column of the rows' weights, for fit, metrics and threshold; no feature.
        time: The column of times (dates or numbers) to split by: what came later is held out; no feature.
        group: The column whose rows of the same value stay on one side of each split; no feature.
        test: A table of its own for the test rows, in a file or in parts; then all rows of a single table are
            training rows.
        monotone: Columns of numbers with which the score may only rise (1) or only fall (-1).
        csv: How CSV files are written, where not as usual; see ``CsvForm``.
        task: ``binary``, ``multiclass`` or ``regression``; by default the target's values tell.
        classes: A model's classes, in the order of their codes; by default those of the target.
        stream: Whether a table, and that for the test rows, is read in passes, and not held in memory: ``always``,
            ``never``, or ``auto``, where it would not fit.

    Raises:
        InputError: The data is not there, cannot be read, or cannot be trained on; the message says what and where.

    Examples:
        >>> from trainer import load_data
        >>> dataset = load_data(rows=600)
        >>> dataset.train.rows, dataset.test.rows, dataset.target
        (480, 120, 'purchase')
    """
    roles = ColumnRoles(weight, time, group)
    how = Reading(
        target,
        test_size,
        seed,
        column_types,
        tuple(drop),
        tuple(categorical),
        positive,
        roles,
        task=task,
        # Two classes are read by what they say.
        classes=tuple(classes) if classes and task == "multiclass" else None,
        monotone=monotone or {},
        form=csv or CsvForm(),
    )
    if test is not None:
        return with_test_file(path, table_place(test), how, stream)
    if path is None:
        return _generated(how, rows, "no data given (--data)")
    path = table_place(path)
    with readable(path):
        if path.is_dir():
            names = sorted(entry.name for entry in path.iterdir() if not _is_ignored(entry))
            if not names:
                return _generated(how, rows, f"{path} holds no data")
            return _from_folder(path, names, how, stream)
    return from_table(table_files(path), how, stream)


def check_exists(path: Place) -> None:
    """Check that there is a file or folder, or that a pattern finds some.

    Raises:
        InputError: There is none.
    """
    if is_pattern(path):
        table_files(path)
        return
    with readable(path):
        if not path.exists():
            raise no_such_table(path)


# The sources ----------------------------------------------------------------------------------------------------


def _generated(how: Reading, rows: int | None, why: str) -> Dataset:
    table = generate_sessions(rows or demo.ROWS, how.seed)
    if how.task not in (None, "binary"):
        raise InputError(f"{why}: the generated sessions have a binary target, and --task asks for {how.task}")
    how = replace(how, target=demo.TARGET, positive=None)
    return split_table(
        how.without_dropped(table, "the generated sessions"),
        how,
        name="generated-sessions",
        source=f"trainer.data.demo.generate_sessions(rows={len(table)}, seed={how.seed})",
        warnings=[f"{why}: training on {len(table):,} generated web-shop sessions (seed {how.seed})"],
        generated=True,
    )


def _from_folder(path: Place, names: Sequence[str], how: Reading, stream: Stream) -> Dataset:
    files = [f"{part}.csv" for part in PARTS]
    present = [name for name in files if name in names]
    if len(present) == len(files):
        if stream == "always":
            raise InputError(f"{path}: --stream always goes with one table, not with four files")
        return from_four(path, how)
    if present:
        missing = ", ".join(name for name in files if name not in present)
        raise InputError(f"{path}: {missing} missing beside {', '.join(present)}; expected {EXPECTED}")
    tables = [path / name for name in names if is_table(path / name)]
    if len(tables) == 1:
        return from_table(TableFiles(tables[0], (tables[0],)), how, stream)
    if tables:
        return from_table(TableFiles(path, folder_parts(path, tables)), how, stream)
    raise InputError(f"{path}: holds {listed(names)}, which is no data; expected {EXPECTED}")


def _is_ignored(entry: Place) -> bool:
    # Variants, spaces and policies may lie beside the data, or where there are none.
    name = entry.name.lower()
    return name.startswith((".", "_")) or name in _IGNORED or name.endswith((".yaml", ".yml"))
