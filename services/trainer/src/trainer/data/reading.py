"""How tables are read and split, beside where they are: what the options of a command say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from trainer.config.csv_form import CsvForm
from trainer.config.defaults import TEST_SIZE
from trainer.config.task import Label, TaskName
from trainer.config.values import ColumnType
from trainer.data.column_roles import ColumnRoles
from trainer.util.errors import InputError
from trainer.util.text import did_you_mean, listed

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Reading:
    """How a table is read and split.

    ``target`` names the target column of a single table; ``test_size`` is the share of its rows (0 to 1) that is held
    out, and ``seed`` seeds that split and the generator. ``column_types`` are those of a model: only its columns are
    read, and as it was trained on them; None to tell the types by the values. ``drop`` are columns to leave out,
    ``categorical`` those of which each value is a category, whole numbers too. ``positive`` is the positive
    class's value, where the target's two values do not say so themselves. ``roles`` are the columns of weights, times
    and groups. ``task`` is what is predicted, or None where the target tells; ``classes`` are those of a model.
    ``monotone`` names columns of numbers with which the score may only rise (1) or only fall (-1). ``form`` is how CSV
    files are written, and which words are missing values.
    """

    target: str | None = None
    test_size: float = TEST_SIZE
    seed: int = 42
    column_types: Mapping[str, ColumnType] | None = None
    drop: tuple[str, ...] = ()
    categorical: tuple[str, ...] = ()
    positive: str | None = None
    roles: ColumnRoles = field(default_factory=ColumnRoles)
    task: TaskName | None = None
    classes: tuple[Label, ...] | None = None
    monotone: Mapping[str, int] = field(default_factory=dict)
    form: CsvForm = field(default_factory=CsvForm)

    @property
    def texts(self) -> list[str]:
        """The columns that are read as they are written; an identifier may have more digits than a number keeps."""
        groups = () if self.roles.group is None else (self.roles.group,)
        return [name for name, kind in (self.column_types or {}).items() if kind == "text"] + [
            *self.categorical,
            *groups,
        ]

    def without_dropped(self, table: pd.DataFrame, source: str) -> pd.DataFrame:
        """Return a table without the columns that are dropped.

        Raises:
            InputError: A column that an option names is not there, or is the target.
        """
        named = [("--drop", self.drop), ("--categorical", self.categorical), ("--monotone", tuple(self.monotone))]
        named += [(option, (name,)) for option, name in self.roles.options]
        for option, names in named:
            for name in names:
                if name == self.target:
                    raise InputError(f"{option}: {name!r} is the target")
                if name not in table.columns:
                    hint = did_you_mean(name, map(str, table.columns), f"its columns are {listed(table.columns)}")
                    why = option if self.column_types is None else f"the model was trained with {option} {name}"
                    raise InputError(f"{source}: has no column {name!r} ({why}); {hint}")
                if option != "--drop" and name in self.drop:
                    raise InputError(f"column {name!r} is named by both --drop and {option}")
                if option not in ("--drop", "--categorical") and name in self.categorical:
                    raise InputError(f"column {name!r} is named by both --categorical and {option}")
        return table.drop(columns=list(self.drop))
