"""What a model was trained on, kept among its own files: so it can be told later on which rows it has never seen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from trainer.config.csv_form import CsvForm
from trainer.config.task import Label, TaskName
from trainer.config.values import ColumnType
from trainer.data.dataset import Dataset
from trainer.data.row_hashes import RowHashes
from trainer.training.model_metadata import noted_column_types, noted_form, noted_task

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: The key in the model's metadata, and the files beside its MLmodel; the last one where rows are in groups.
KEY, FILE, GROUPS = "trained_on", "training_rows.npz", "training_groups.npy"
#: What columns that are no features may be for.
ROLES = ("weight", "time", "group")


@dataclass(frozen=True)
class TrainedOn:
    """The data of a training: its columns' types, the digests of both parts, their split, the training rows' hashes.

    ``seed`` and ``test_size`` are None where the data came in two parts; ``rows`` where the file is not there.
    """

    digest: str
    test_digest: str
    seed: int | None
    test_size: float | None
    rows: RowHashes | None
    column_types: Mapping[str, ColumnType]
    #: The positive class's value, where it was named.
    positive: str | None = None
    #: What is predicted, and its classes as the target column had them.
    task: TaskName = "binary"
    classes: tuple[Label, ...] = ()
    #: The columns of weights, times and groups, by these words.
    roles: Mapping[str, str] = field(default_factory=dict)
    #: The hashes of the training rows' groups, ascending, where they were in groups.
    groups: NDArray[np.int64] | None = None
    #: The target's name.
    target: str | None = None
    #: How its CSV files were written.
    form: CsvForm = field(default_factory=CsvForm)

    @classmethod
    def read(cls, folder: Path, metadata: Mapping[str, Any] | None) -> TrainedOn | None:
        """Return what the model in a folder was trained on; None for a model that does not say so."""
        content: Any = (metadata or {}).get(KEY)
        try:
            seed, size = content["seed"], content["test_size"]
            types = noted_column_types(metadata) or {}
            rows = RowHashes.load(folder / FILE) if (folder / FILE).is_file() else None
            return cls(
                str(content["digest"]),
                str(content["test_digest"]),
                None if seed is None else int(seed),
                None if size is None else float(size),
                rows,
                # MLmodel files have their keys in alphabetical order.
                {str(name): types[name] for name in content["columns"]},
                content.get("positive"),
                *noted_task(metadata),
                {role: str(content["roles"][role]) for role in ROLES if role in content.get("roles", {})},
                np.load(folder / GROUPS, allow_pickle=False) if (folder / GROUPS).is_file() else None,
                None if metadata is None else metadata.get("target"),
                noted_form(metadata),
            )
        except (TypeError, KeyError, ValueError, OSError):
            return None

    def is_of(self, dataset: Dataset) -> bool:
        """Tell whether a data set is the one: its training rows and its test rows."""
        return (self.digest, self.test_digest) == (dataset.digest, dataset.test_digest)


def metadata_of(dataset: Dataset) -> dict[str, Any]:
    """Return what the metadata of a model says of its training data."""
    split = dataset.test_size is not None
    return {
        KEY: {
            "digest": dataset.digest,
            "test_digest": dataset.test_digest,
            "seed": dataset.seed if split else None,
            "test_size": dataset.test_size,
            "columns": list(dataset.column_types),
            "positive": dataset.positive,
            "roles": dict(dataset.roles),
        }
    }


def write_rows(dataset: Dataset, folder: Path) -> None:
    """Write the hashes of the training rows, and of their groups, into a model's folder."""
    RowHashes.of_parts(dataset.train.parts()).save(folder / FILE)
    if dataset.train.group is not None:
        np.save(folder / GROUPS, np.unique(dataset.train.group), allow_pickle=False)
