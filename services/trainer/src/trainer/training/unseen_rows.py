"""The rows of a data set that a model was not trained on.

Where the data is what a model was trained on, its own split says which rows it has not seen. Of other data, those rows
count as unseen whose features are in none of its training rows (see ``data.row_hashes``), and whose group is none of
theirs where the model was trained with groups.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from trainer.config.task import Label
from trainer.data.dataset import Dataset, Table

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from trainer.training.trained_on import TrainedOn

#: Fewer rows of a class than this say nothing, unless they are all that a version itself was tested on.
FEWEST = 10


@dataclass(frozen=True)
class UnseenRows:
    """Rows to score, or why there are none. ``positions`` are among all rows of the data, ascending.

    ``tested`` says that they are the very rows that the version was tested on in training.
    """

    positions: NDArray[np.int64]
    detail: str
    tested: bool = False
    problem: str | None = None


def unseen_rows(dataset: Dataset, trained: TrainedOn | None, table: Table) -> UnseenRows:
    """Return the rows that a model was not trained on.

    Args:
        dataset: The data, read and split as the model's.
        trained: What the model was trained on; None where it does not say so.
        table: All rows of the data.
    """
    none = np.empty(0, dtype=np.int64)
    if trained is None:
        return UnseenRows(none, "", problem="its model does not say which rows it was trained on")
    if trained.is_of(dataset):
        by = next((f"by --{role} {trained.roles[role]}, " for role in ("time", "group") if role in trained.roles), "")
        split = (
            ""
            if trained.seed is None
            else f", split as in its run ({by}seed {trained.seed}, test size {trained.test_size:g})"
        )
        return UnseenRows(dataset.held_out, f"its own {dataset.test.rows:,} test rows{split}", tested=True)
    if trained.rows is None:
        return UnseenRows(none, "", problem="the data is not what it was trained on, and its model lists no rows")
    found = []
    for part in table.parts():
        if (held := trained.rows.hold(part)) is None:
            return UnseenRows(none, "", problem="the data lacks columns that it was trained on")
        found.append(held)
    seen = np.concatenate(found)
    what = "rows, those that it was not trained on"
    if "group" in trained.roles:
        if trained.groups is None or table.group is None:
            return UnseenRows(none, "", problem="its model does not list the groups that it was trained on")
        seen |= np.isin(table.group, trained.groups)
        what = f"rows, those of groups ({trained.roles['group']}) that it was not trained on"
    positions = np.flatnonzero(~seen)
    detail = f"{len(positions):,} of {table.rows:,} {what}"
    return enough(UnseenRows(positions, detail), table, dataset.classes)


def enough(rows: UnseenRows, table: Table, classes: Sequence[Label]) -> UnseenRows:
    """Return the rows, with a problem where a class has too few of them to say anything."""
    target = table.target[rows.positions]
    if not table.has_classes:
        if len(target) >= FEWEST:
            return rows
        problem = f"only {len(target):,} unseen rows; at least {FEWEST} are needed: give other data"
        return UnseenRows(rows.positions, rows.detail, problem=problem)
    counts = np.bincount(target, minlength=len(classes))
    if counts.min() >= FEWEST:
        return rows
    rarest = int(np.argmin(counts))
    name = repr(classes[rarest]) if len(classes) > 2 else rarest
    found = f"{len(rows.positions):,} unseen rows, {counts.min()} of class {name}"
    problem = f"only {found}; at least {FEWEST} of each class are needed: give other data"
    return UnseenRows(rows.positions, rows.detail, problem=problem)
