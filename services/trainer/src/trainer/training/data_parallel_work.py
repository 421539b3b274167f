"""What the processes that fit one model together are given: their common work, and a part of the rows each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import pandas as pd

from trainer.data.dataset import Dataset, Table
from trainer.training import data_parallel
from trainer.training.data_parallel import Common, Seat
from trainer.training.encoding import Encoding
from trainer.training.fit_work import FitWork
from trainer.training.pipeline import FittedPipeline, feature_names, fit_pipeline, refusals, unfitted
from trainer.training.tasks import training_task

#: A part has at least so many rows. Fewer are fitted sooner by fewer processes, and the model is nearer to that of one:
#: LightGBM's processes know the rows of a leaf by an estimate only (see ``data_parallel``), which
#: matters where rows are few.
LEAST = 50_000


@dataclass(frozen=True, kw_only=True)
class Work(FitWork):
    """The work of all processes; plain data. ``dataset`` is without its tables."""

    validation: Table | None
    common: Common

    def fit(self, part: Table, meet: Callable[[], tuple[str, int]]) -> FittedPipeline:
        """Fit the model together with the others; see ``fit_pipeline`` and ``data_parallel.Seat``."""
        seat, encoding = Seat(self.common, meet), Encoding(self.dataset, part, self.common.encode)
        return fit_pipeline(self, encoding, self.validation, seat=seat)


@dataclass(frozen=True)
class Prepared:
    """A fit that can be cut into as many parts as there are processes."""

    work: Work
    fitting: Table

    def most(self, processes: int) -> int:
        """Return how many of so many processes have enough to do."""
        return max(min(processes, self.fitting.rows // LEAST), 1)

    def cut(self, processes: int) -> tuple[Work, list[Table]]:
        """Return the work for so many processes, and the rows of each: all rows, in their order."""
        work = replace(self.work, common=replace(self.work.common, processes=processes))
        bounds = np.linspace(0, self.fitting.rows, processes + 1).astype(np.int64)
        return work, [self.fitting.span(int(start), int(stop)) for start, stop in pairwise(bounds)]


def prepare(work: FitWork, encoding: Encoding, validation: Table | None) -> Prepared:
    """Fit the encoder, and choose the bins: what depends on all rows; see ``fit_pipeline`` for the arguments.

    Raises:
        TrainerError: LightGBM refuses the parameters.
    """
    dataset, fitting, encode = work.dataset, encoding.fitting, encoding.fit()
    columns = [str(name) for name in encode.get_feature_names_out()]
    classify = unfitted(work.params, dataset, work.seed, columns)
    names = feature_names(columns)
    categories = names[: len(dataset.columns("text")) + len(dataset.columns("boolean"))]
    with refusals():
        sample = encode.transform(fitting.rows_at(data_parallel.sample_positions(classify, fitting.rows)))
        bins = data_parallel.make_bins(classify, sample.to_numpy(dtype=np.float64), fitting.rows, names, categories)
    labels = training_task(dataset.task, dataset.classes).labels(fitting.target)
    common = Common(encode, bins, np.unique(labels), 1)
    lean = replace(work, dataset=_without_rows(dataset))
    return Prepared(
        Work(**vars(lean), validation=validation, common=common), data_parallel.weighted(fitting, classify, labels)
    )


def finished(prepared: Prepared, fitted: FittedPipeline) -> FittedPipeline:
    """Return what another process has fitted, with this one's encoder."""
    from sklearn.pipeline import Pipeline

    pipeline = Pipeline([("encode", prepared.work.common.encode), ("classify", fitted.pipeline[-1])])
    return fitted._replace(pipeline=pipeline)


def _without_rows(dataset: Dataset) -> Dataset:
    none = Table(pd.DataFrame(), np.empty(0, dtype=np.int64))
    return replace(dataset, train=none, test=none, test_positions=None, warnings=())
