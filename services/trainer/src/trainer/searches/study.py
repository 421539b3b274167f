"""The trials of a search, kept by Optuna in a file or a database that several processes and containers may share."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import optuna
from optuna.exceptions import DuplicatedStudyError
from optuna.samplers import BaseSampler

from trainer.util.errors import InputError

if TYPE_CHECKING:
    from optuna.storages import BaseStorage

SETTING, PARENT = "trainer.setting", "trainer.parent_run_id"
#: How long to wait for the process that made the study to have written down what belongs to it, in seconds.
_PATIENCE = 15.0


@dataclass(frozen=True)
class Opened:
    """A study, and whether this process made it."""

    study: optuna.Study
    made: bool


def open_study(storage: BaseStorage, name: str, setting: str, sampler: BaseSampler) -> Opened:
    """Return the study, made where it does not exist; of several processes exactly one makes it.

    Args:
        storage: Where it is kept.
        name: Its name.
        setting: Digest of what its trials have in common: trials of another kind cannot be compared.
        sampler: Draws the trials' parameters.

    Raises:
        InputError: There is a study of this name with another setting.
    """
    try:
        study = optuna.create_study(storage=storage, study_name=name, sampler=sampler, direction="maximize")
        study.set_user_attr(SETTING, setting)
        return Opened(study, True)
    except DuplicatedStudyError:
        study = optuna.load_study(storage=storage, study_name=name, sampler=sampler)
    found = wait_for(study, SETTING)
    if found not in (None, setting):
        raise InputError(
            f"study {name!r} searches another space, or with other data, parameters, seed or code;"
            " name another one with --study"
        )
    return Opened(study, False)


def wait_for(study: optuna.Study, attribute: str) -> str | None:
    """Return a study's attribute, which the process that made it may be about to write."""
    deadline = time.monotonic() + _PATIENCE
    while (value := study.user_attrs.get(attribute)) is None and time.monotonic() < deadline:
        time.sleep(0.1)
    return value
