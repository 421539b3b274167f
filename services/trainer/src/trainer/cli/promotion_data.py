"""The data of a promotion, read as each version was trained on it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trainer.cli.options.data import SourceOptions
    from trainer.data.dataset import Dataset
    from trainer.promotion.compared_rows import Load
    from trainer.training.trained_on import TrainedOn


def given_loader(source: SourceOptions | None) -> Load | None:
    """Return what reads the data that the command names; None where it names none.

    Raises:
        InputError: There is no such table. That is said at once; how it is read, the version's own run says later.
    """
    from trainer.data.sources import check_exists

    if source is None or source.data is None:
        return None
    check_exists(source.data)
    return version_loader(source)


def version_loader(source: SourceOptions) -> Load:
    """Return what reads the data as a model was trained on it, or as the command says; each way once.

    What the command says of the target and of CSV files goes before what a model remembers. The first model, which is
    the one to be promoted, says how the files are written; its words for missing values are each model's own.
    """
    from trainer.cli.data_warnings import show_data_warnings
    from trainer.config.csv_form import CsvForm
    from trainer.data.sources import load_data

    read: dict[str, Dataset] = {}
    of_file: list[CsvForm] = []
    shown: set[str] = set()

    def load(trained: TrainedOn | None) -> Dataset:
        seed, test_size, types, form = source.seed, source.test_size, None, CsvForm()
        target, positive = source.target, source.positive
        roles: Mapping[str, str] = {}
        task, classes = None, None
        if trained is not None:
            types, roles, form = trained.column_types, trained.roles, trained.form
            task, classes = trained.task, trained.classes
            target, positive = target or trained.target, positive or trained.positive
            if trained.seed is not None and trained.test_size is not None:
                seed, test_size = trained.seed, trained.test_size
        of_file.append(form)
        form = replace(of_file[0], missing=form.missing, not_missing=form.not_missing).with_given(source.csv)
        key = repr((seed, test_size, types, roles, target, positive, form, task, classes))
        if key not in read:
            read[key] = load_data(
                source.data,
                target=target,
                test_size=test_size,
                seed=seed,
                column_types=types,
                positive=positive,
                weight=roles.get("weight"),
                time=roles.get("time"),
                group=roles.get("group"),
                csv=form,
                task=task,
                classes=classes,
                stream=source.stream,
            )
            # The table of constraints says that sessions were made up.
            if not read[key].generated:
                show_data_warnings(warning for warning in read[key].warnings if warning not in shown)
                shown.update(read[key].warnings)
        return read[key]

    return load
