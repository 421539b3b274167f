"""Reads the data of a training as its options say, and checks it: here, or on a worker that sees the same files.

A cluster's worker has imported pandas; a small table is then there sooner than this process could import it, and its
rows need not travel.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer.config.csv_form import CsvForm
from trainer.config.task import TASKS
from trainer.config.variant import check_params, selection_metric
from trainer.parallel.engine import run_task
from trainer.parallel.pool import TaskDiedError
from trainer.util.file_states import FileStates

if TYPE_CHECKING:
    from trainer.cli.options.data import DataOptions
    from trainer.config.parameter import Value
    from trainer.config.stream import Stream
    from trainer.data.dataset import Dataset, Table
    from trainer.parallel.engine import Engine
    from trainer.training.threshold_rule import ThresholdRule
    from trainer.training.train_config import TrainConfig

#: Bytes of files that a worker reads in this process's place. For larger ones the import is a small part of the time,
#: and a worker may have less memory.
SMALL = 16 << 20
#: Bytes of tables in memory that a worker keeps for the next command, as it read them.
KEPT = 32 << 20
#: What this worker has read last: the tables of small files, by what was asked for; see ``_load_once``.
_LAST: dict[bytes, Dataset] = {}


@dataclass(frozen=True)
class Request:
    """What is read and checked: plain data that can be handed to another process.

    Attributes:
        source: The options that choose and split the data.
        rule: How the threshold is chosen.
        all_params: Each variant's complete parameters.
        stream: Whether the table is read in passes.
        distributed: Whether one fit is made by several processes.
    """

    source: DataOptions
    rule: ThresholdRule
    all_params: Sequence[Mapping[str, Value]]
    stream: Stream
    distributed: bool


def read(request: Request, engine: Engine | None) -> tuple[Dataset, TrainConfig]:
    """Read the data and check it against the settings.

    Args:
        request: What to read.
        engine: What the variants run on. Where that is a cluster, one of its workers reads small files that it sees as
            well: the tables in the answer are then ``TableOnWorker``.

    Raises:
        InputError: The data cannot be read, or trained on as the settings say.
    """
    if engine is not None and engine.remote and request.stream != "always":
        places = _places(request)
        states = FileStates.of(places) if all(isinstance(place, Path) for place in places) else None
        if states is not None and states.size <= SMALL:
            # A worker that dies has too little memory, perhaps.
            with suppress(TaskDiedError):
                answer = run_task(engine, _read_seen, (request, states)) if engine.idle else None
                if answer is not None:
                    return answer
    return _read(request)


def _places(request: Request) -> list[Path]:
    return [place for place in (request.source.data, request.source.test) if place is not None]


def _read_seen(wanted: tuple[Request, FileStates], _shared: None) -> tuple[Dataset, TrainConfig] | None:
    """Read the data; nothing where this process sees other files, or would not hold the tables in its memory."""
    request, states = wanted
    if FileStates.of(_places(request)) != states:
        return None
    dataset = _load_once(request, states)
    if not (dataset.train.held and dataset.test.held):
        return None
    from trainer.parallel.cluster.parcels import Sealed

    positions: Any = None if dataset.test_positions is None else Sealed.of(dataset.test_positions)
    return replace(dataset, test_positions=positions), _checked(dataset, request)


def _read(request: Request) -> tuple[Dataset, TrainConfig]:
    dataset = _load(request.source, request.stream)
    return dataset, _checked(dataset, request)


def _load_once(request: Request, states: FileStates) -> Dataset:
    """Read the data, unless it was read last, by the same options and from files in the same states."""
    asked = pickle.dumps((request.source, request.stream, states))
    if (known := _LAST.get(asked)) is not None:
        return known
    # Before others are read: memory need not hold both.
    _LAST.clear()
    dataset = _load(request.source, request.stream)
    if all(table.held and _memory(table) <= KEPT // 2 for table in (dataset.train, dataset.test)):
        _LAST[asked] = dataset
    return dataset


def _memory(table: Table) -> int:
    """Return how many bytes a table's features take in memory."""
    return int(table.features.memory_usage(deep=True).sum())


def _load(source: DataOptions, stream: Stream) -> Dataset:
    from trainer.data.sources import load_data

    return load_data(
        source.data,
        target=source.target,
        test_size=source.test_size,
        seed=source.seed,
        drop=source.drop,
        categorical=source.categorical,
        positive=source.positive,
        weight=source.weight,
        time=source.time,
        group=source.group,
        test=source.test,
        monotone=source.monotone,
        csv=CsvForm().with_given(source.csv),
        task=source.task,
        stream=stream,
    )


def _checked(dataset: Dataset, request: Request) -> TrainConfig:
    """Return the settings of the training, which go with the data.

    Raises:
        InputError: They do not.
    """
    from trainer.training.train_config import TrainConfig
    from trainer.training.validation_split import check_splits

    source, task = request.source, TASKS[dataset.task]
    metric = selection_metric(task, source.metric, request.all_params)
    config = TrainConfig(
        source.seed, source.validation_size, request.rule, source.folds or 0, metric, request.distributed
    )
    config.check(task)
    for some in request.all_params:
        check_params(some, dataset.task)
    check_splits(dataset, seed=source.seed, validation_size=source.validation_size, folds=source.folds or 0)
    return config
