"""What a model was trained on, kept among its own files: so it can be told later on which rows it has never seen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainer.config.values import ColumnType
from trainer.data.dataset import Dataset
from trainer.data.row_hashes import RowHashes
from trainer.training.model_metadata import noted_column_types

#: The key in the model's metadata, and the file beside its MLmodel.
KEY, FILE = "trained_on", "training_rows.npz"


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
        }
    }


def write_rows(dataset: Dataset, folder: Path) -> None:
    """Write the hashes of the training rows into a model's folder."""
    RowHashes.of(dataset.train.features).save(folder / FILE)
