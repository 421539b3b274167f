"""The trials of a search, kept by Optuna in a file or a database that several processes and containers may share."""

from __future__ import annotations

import hashlib
import os
import threading
import time
import uuid
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.exceptions import DuplicatedStudyError
from optuna.samplers import BaseSampler
from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock
from optuna.trial import FrozenTrial, TrialState

from trainer.util.errors import InputError, PrunedError, TrainerError, one_line

if TYPE_CHECKING:
    from optuna.pruners import BasePruner
    from optuna.storages import BaseStorage

#: A trial reports its loss at so many points, at equal shares of its own iterations: a slow learner with many trees is
#: compared with others at the same share of the way, and a report costs a write to the storage.
STEPS = 20
SETTING, PARENT, OWNER = "trainer.setting", "trainer.parent_run_id", "trainer.owner"
_ALIVE = "trainer.alive:"
_BEAT, _SILENCE = 10.0, 60.0
#: How long to wait for the process that made the study to have written down what belongs to it, in seconds.
_PATIENCE = 15.0


def open_storage(place: str) -> BaseStorage:
    """Return the storage at ``place``: a database's URL, or the path of a journal file, which is made.

    Raises:
        TrainerError: It cannot be used; the message names it and the remedy.
    """
    from trainer.tracking.client import without_credentials

    shown = without_credentials(place)
    try:
        if "://" in place:
            return optuna.storages.RDBStorage(place)
        return optuna.storages.JournalStorage(_Journal(place))
    except OSError as error:
        raise InputError(
            f"{shown}: {error.strerror or one_line(error)} (--storage); name a file in a folder that can be written to"
        ) from error
    except ImportError as error:
        raise InputError(f"{shown}: {one_line(error, 200)} (--storage); install the database's driver") from error
    except Exception as error:  # SQLAlchemy's and Optuna's many, and a journal that is none
        raise TrainerError(f"{shown}: cannot be used as a storage (--storage): {one_line(error, 200)}") from error


class _Journal(JournalFileBackend):
    """A journal that outlives a full disk.

    A write that fails leaves half a line, and the next one would go on in it: Optuna could read the file no more.
    """

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self._path, self._own_lock = Path(path), JournalFileSymlinkLock(path)

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Write whole lines only, after whole lines only."""
        try:
            if self._half_line():
                self._own_lock.acquire()
                try:
                    # Now no other process is about to write the other half.
                    if half := self._half_line():
                        os.truncate(self._path, self._path.stat().st_size - half)
                finally:
                    self._own_lock.release()
            super().append_logs(logs)
        except OSError as error:
            raise TrainerError(
                f"{self._path}: cannot be written (--storage): {error.strerror or one_line(error)};"
                " the same command goes on from there"
            ) from error

    def _half_line(self) -> int:
        """Return the length of a last line that has no end."""
        with self._path.open("rb") as file:
            if not file.seek(0, os.SEEK_END):
                return 0
            file.seek(-1, os.SEEK_END)
            if file.read() == b"\n":
                return 0
            file.seek(0)
            return len(file.read().rpartition(b"\n")[2])


class SeededSampler(BaseSampler):
    """Draws each trial with a sampler of its own, seeded by the trial's number.

    A resumed search goes on as it would have, and processes that share a study do not draw the same values.
    """

    def __init__(self, kind: str, seed: int) -> None:
        self._kind, self._seed = kind, seed
        self._inner = self._make(0)

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        """Make the trial's sampler."""
        self._inner = self._make(trial.number)
        self._inner.before_trial(study, trial)

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Return what the sampler draws together."""
        return self._inner.infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Return values that are drawn together."""
        return self._inner.sample_relative(study, trial, search_space)

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Return a value that is drawn alone."""
        return self._inner.sample_independent(study, trial, param_name, param_distribution)

    def _make(self, number: int) -> BaseSampler:
        seed = int.from_bytes(hashlib.sha256(f"{self._seed}:{number}".encode()).digest()[:4], "big")
        if self._kind == "random":
            return optuna.samplers.RandomSampler(seed=seed)
        return optuna.samplers.TPESampler(seed=seed)


def pruner(kind: str) -> BasePruner:
    """Return the pruner of this name; none prunes before a quarter of a trial's iterations."""
    if kind == "median":
        return optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=STEPS // 4)
    if kind == "hyperband":
        return optuna.pruners.HyperbandPruner(min_resource=STEPS // 4, max_resource=STEPS, reduction_factor=2)
    return optuna.pruners.NopPruner()


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


class Membership:
    """This process's part in a study: a sign of life, by which others tell running trials from abandoned ones."""

    def __init__(self, study: optuna.Study) -> None:
        self.token = uuid.uuid4().hex
        self._study = study
        self._gone = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="trainer-search", daemon=True)

    def __enter__(self) -> Membership:
        self._study.set_user_attr(_ALIVE + self.token, time.time())
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._gone.set()
        self._thread.join(5)
        self._study.set_user_attr(_ALIVE + self.token, 0.0)

    def others(self) -> bool:
        """Tell whether other processes take part at the moment."""
        return any(name != _ALIVE + self.token for name in self._living())

    def release_abandoned(self) -> None:
        """Fail the trials that are marked as running but whose process has been silent."""
        living = self._living()
        for trial in self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            owner = trial.user_attrs.get(OWNER)
            young = trial.datetime_start is not None and time.time() - trial.datetime_start.timestamp() < _SILENCE
            if _ALIVE + str(owner) not in living and (owner is not None or not young):
                self._study.tell(trial.number, state=TrialState.FAIL, skip_if_finished=True)

    def _living(self) -> set[str]:
        now = time.time()
        attributes: Mapping[str, Any] = self._study.user_attrs
        return {name for name, at in attributes.items() if name.startswith(_ALIVE) and now - at < _SILENCE}

    def _beat(self) -> None:
        while not self._gone.wait(_BEAT):
            # A storage that is busy gets the next one: only a silence of several beats means anything.
            with suppress(Exception):
                self._study.set_user_attr(_ALIVE + self.token, time.time())


class Pruning:
    """A LightGBM callback that reports the validation loss to the study, and ends an unpromising trial."""

    order = 25
    before_iteration = False

    def __init__(self, place: str, name: str, number: int, kind: str) -> None:
        self._storage = open_storage(place)
        self._study = optuna.load_study(storage=self._storage, study_name=name, pruner=pruner(kind))
        study_id = self._storage.get_study_id_from_name(name)
        self._trial_id = self._storage.get_trial_id_from_study_id_trial_number(study_id, number)
        self._reported = 0
        self.loss: list[float] = []

    def __call__(self, state: Any) -> None:
        """Report at each of the points, and ask whether to go on."""
        self.loss.append(float(state.evaluation_result_list[0][2]))
        step = STEPS * (state.iteration + 1) // state.end_iteration
        if step <= self._reported:
            return
        self._reported = step
        # The study's figure is to be high, the loss low.
        self._storage.set_trial_intermediate_value(self._trial_id, step, -self.loss[-1])
        if step < STEPS and self._study.pruner.prune(self._study, self._storage.get_trial(self._trial_id)):
            raise PrunedError(self.loss)
