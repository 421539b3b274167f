"""Brings the training and the test table to the same columns and types, and says what looks wrong in them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pandas as pd

from trainer.config.values import ColumnType
from trainer.data.column_names import alike_names_warnings, meant_column
from trainer.data.column_warnings import DATES, decimals_warning, text_warning
from trainer.data.columns import column_type, convert_column, read_as
from trainer.data.dataset import Dataset
from trainer.data.leak_warnings import leak_warning
from trainer.data.reading import Reading
from trainer.data.row_hashes import hash_rows
from trainer.data.split_warnings import shared_rows_warning, split_warning
from trainer.data.unseen_categories import unseen_warning
from trainer.util.errors import InputError
from trainer.util.text import listed

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from trainer.data.dataset import Table


def unified(
    train: Table,
    test: Table,
    how: Reading,
    *,
    source: str,
    warnings: list[str],
    from_text: bool = True,
    names: tuple[str, str] = ("X_train", "X_test"),
    **rest: Any,
) -> Dataset:
    """Return the data set with the features of both tables, which have names, brought to the same columns and types."""
    columns = list(train.features.columns) if how.column_types is None else list(how.column_types)
    if how.column_types is not None:
        check_columns_of_model(source, train.features.columns, columns)
    else:
        check_same_columns(source, columns, test.features.columns, names)
    if not columns:
        raise InputError(f"{source}: has no feature columns")
    if how.column_types is None:
        warnings += alike_names_warnings(columns)
    column_types: dict[str, ColumnType] = {}
    converted: tuple[dict[str, pd.Series], dict[str, pd.Series]] = ({}, {})
    for name in columns:
        label = f"{source}: column {name!r}"
        values = [table.features[name] for table in (train, test)]
        known = how.column_types is not None
        if how.column_types is not None:
            kind = how.column_types[name]
        else:
            kind = column_type(values, label, how.form)
            kind = "text" if kind != "unknown" and name in how.categorical else kind
        column_types[name] = kind
        if name in how.monotone and kind != "number":
            raise InputError(f"{label} is {kind}; --monotone takes columns of numbers")
        for part, column in zip(converted, values, strict=True):
            part[name] = _converted(column, kind, label, how, from_text=from_text)
        if not known:
            # Both parts are of one table, so their values are written alike.
            apart = "test_size" not in rest
            of_both = [part[name] for part in converted]
            warnings += feature_warnings(name, kind, of_both, train.target, how, apart=apart)
    empty = [name for name, column in converted[0].items() if column.isna().all()]
    if len(empty) == len(columns):
        raise InputError(f"{source}: every feature value is missing")
    if empty:
        warnings.append(empty_warning(empty))
    train, test = (
        replace(table, features=pd.DataFrame(part, columns=columns))
        for table, part in zip((train, test), converted, strict=True)
    )
    if how.column_types is None and "test_size" not in rest:
        found = shared_rows_warning(*(hash_rows(table.features, columns) for table in (train, test)))
        warnings += [] if found is None else [found]
    return Dataset(
        source=source,
        column_types=column_types,
        **fields_of(how),
        train=train,
        test=test,
        digest=train.digest,
        test_digest=test.digest,
        warnings=tuple(warnings),
        **rest,
    )


def check_same_columns(source: str, train: Collection[str], test: Collection[str], names: Sequence[str]) -> None:
    """Refuse tables with different columns; ``names`` are those of the tables."""
    missing = [name for name in train if name not in test]
    extra = [name for name in test if name not in train]
    if missing or extra:
        parts = [f"{listed(missing)} only in {names[0]}"] if missing else []
        parts += [f"{listed(extra)} only in {names[1]}"] if extra else []
        raise InputError(f"{source}: train and test have different columns: {'; '.join(parts)}")


def check_columns_of_model(source: str, names: Collection[str], wanted: Collection[str]) -> None:
    """Refuse a table with the columns ``names`` that lacks some of those that a model takes."""
    if lacking := [name for name in wanted if name not in names]:
        others = [name for name in names if name not in wanted]
        raise InputError(
            f"{source}: lacks columns that the model takes: {listed(lacking)}{meant_column(lacking[0], others)}"
        )


def fields_of(how: Reading) -> dict[str, Any]:
    """Return the fields of a data set that say how it was read."""
    return {
        "target": str(how.target),
        "positive": how.positive,
        "task": how.task or "binary",
        "classes": how.classes or (),
        "monotone": dict(how.monotone),
        "form": how.form,
        "dropped": how.drop,
        "categorical": how.categorical,
        "roles": {option.removeprefix("--"): name for option, name in how.roles.options},
    }


def empty_warning(names: Sequence[str]) -> str:
    """Return the warning on features without a value in any training row."""
    return f"no training row has a value in column{'s' if len(names) > 1 else ''} {listed(names)}"


def _converted(column: pd.Series, kind: ColumnType, label: str, how: Reading, *, from_text: bool) -> pd.Series:
    """Return a column in its type: that of a model, or the one that its own values have."""
    if how.column_types is not None:
        return read_as(column, kind, label, from_text=from_text, form=how.form)
    return convert_column(column, kind, how.form)


def feature_warnings(
    name: str,
    kind: ColumnType,
    of_both: Sequence[pd.Series],
    target: NDArray[Any],
    how: Reading,
    *,
    apart: bool,
    known: pd.Series | None = None,
    rows: int | None = None,
) -> list[str]:
    """Return the warnings on a feature.

    Args:
        name: Its name.
        kind: Its type.
        of_both: Its training and its test values, in this type.
        target: The training rows' targets.
        how: How the table was read.
        apart: Whether training and test rows came in files of their own.
        known: All texts of the training rows, where ``of_both`` are only some of the values.
        rows: How many training rows there are then.
    """
    found = _column_warnings(name, kind, of_both, target, how, known, rows, apart=apart)
    # Split at random, rows of a later time or of the same visitor are in all parts.
    if how.roles.time is None and how.roles.group is None:
        if found and found[0].endswith(DATES):
            found = [f"{found[0]}; --time {name} tests on what came after"]
        elif not apart and (by := split_warning(name, *of_both)) is not None:
            found.append(by)
    return found


def _column_warnings(
    name: str,
    kind: ColumnType,
    columns: Sequence[pd.Series],
    target: NDArray[Any],
    how: Reading,
    known: pd.Series | None,
    rows: int | None,
    *,
    apart: bool,
) -> list[str]:
    """Return the warnings on a feature: ``columns`` are its training and its test values, ``target`` the first's."""
    found = None
    if kind == "text":
        found = text_warning(columns) or (
            unseen_warning(columns[0] if known is None else known, columns[1]) if apart else None
        )
        found = found or (decimals_warning(columns) if name in how.categorical else None)
    if found is not None:
        return [f"column {name!r} {found}"]
    leak = leak_warning(name, columns[0], target, how.task or "binary", rows)
    return [leak] if leak is not None else []
