"""What processes that fit one model together are given: bins and encoder of all rows, and a part of the files each."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from trainer.config.stream import Stream
from trainer.config.variant import make_variant
from trainer.data.dataset import Dataset
from trainer.data.demo import generate_sessions
from trainer.data.sources import load_data
from trainer.data.streamed_table import StreamedTable
from trainer.training import data_parallel_work
from trainer.training.data_parallel_work import Prepared
from trainer.training.encoding import Encoding
from trainer.training.fit_work import FitWork
from trainer.training.pipeline import fit_pipeline
from trainer.training.validation_split import split_validation

OVERRIDES: dict[str, Any] = {"n_estimators": 10, "class_weight": "balanced"}


@pytest.fixture(scope="module", params=["csv", "parquet"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a table in four parts."""
    folder = tmp_path_factory.mktemp("parts")
    table = generate_sessions(4000, 5)
    for number, rows in enumerate(np.array_split(np.arange(len(table)), 4)):
        part = table.iloc[rows]
        file = folder / f"part-{number}.{request.param}"
        if request.param == "csv":
            part.to_csv(file, index=False)
        else:
            part.to_parquet(file)
    return folder


def prepared(dataset: Dataset, overrides: dict[str, Any] = OVERRIDES) -> Prepared:
    """Return a fit that can be cut."""
    fitting, validation = split_validation(dataset, seed=1, validation_size=0.2)
    encoding = Encoding(dataset, fitting)
    work = FitWork(make_variant(overrides).params, dataset, 1, "average_precision")
    return data_parallel_work.prepare(work, encoding, validation)


def test_each_process_reads_its_own_files(folder: Path) -> None:
    dataset = load_data(folder, target="purchase", stream="always")
    whole = prepared(dataset, {})
    _, parts = whole.cut(2)
    names = []
    for part in parts:
        assert isinstance(part, StreamedTable)
        names.append({file.name[:6] for file in part.source.files.files})
    assert names[0] | names[1] == {f"part-{number}" for number in range(4)}
    # Where the rows of the first end: that file alone is read by both.
    assert len(names[0] & names[1]) <= 1
    read = pd.concat([frame for part in parts for frame in part.parts()], ignore_index=True)
    pd.testing.assert_frame_equal(read, pd.concat(list(whole.fitting.parts()), ignore_index=True))


@pytest.mark.slow
@pytest.mark.parametrize("stream", ["always", "never"])
def test_one_process_makes_the_same_model(folder: Path, stream: Stream) -> None:
    """With the bins of all rows: bit for bit what a plain fit makes, whether rows are sent or read."""
    dataset = load_data(folder, target="purchase", stream=stream)
    work, parts = prepared(dataset).cut(1)
    together, loss, _ = work.fit(parts[0], lambda: ("", 0))
    fitting, validation = split_validation(dataset, seed=1, validation_size=0.2)
    encoding = Encoding(dataset, fitting)
    alone, expected, _ = fit_pipeline(replace(work, dataset=dataset), encoding, validation)
    # Numbers: validation rows have no weights, whatever those have that are fitted to.
    assert min(loss) > 0
    assert loss == expected
    assert together[-1].booster_.model_to_string() == alone[-1].booster_.model_to_string()
    assert together[-1].booster_.params == alone[-1].booster_.params


def test_few_rows_are_for_few_processes(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = prepared(dataset)
    assert whole.most(1000) == 1
    monkeypatch.setattr(data_parallel_work, "LEAST", 100)
    assert whole.most(1) == 1
    assert whole.most(1000) == whole.fitting.rows // data_parallel_work.LEAST
    _, parts = whole.cut(3)
    assert sum(part.rows for part in parts) == whole.fitting.rows
    assert max(part.rows for part in parts) - min(part.rows for part in parts) <= 1
