"""The heartbeat of each process that runs trials of a study: a trial whose process is silent has been abandoned."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping
from typing import Any

import optuna
from optuna.trial import TrialState

from trainer.util.heartbeat import Heartbeat

#: The attribute of a trial that names the process which runs it, by its token.
OWNER = "trainer.owner"
_ALIVE = "trainer.alive:"
_BEAT, _SILENCE = 10.0, 60.0


class WorkerHeartbeat:
    """Writes this process's heartbeat into the study while it is open, and reads those of others."""

    def __init__(self, study: optuna.Study) -> None:
        self.token = uuid.uuid4().hex
        self._study = study
        self._heartbeat = Heartbeat(self._beat, _BEAT, "trainer-search", patience=5)

    def __enter__(self) -> WorkerHeartbeat:
        self._beat()
        self._heartbeat.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._heartbeat.__exit__(*error)
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
        self._study.set_user_attr(_ALIVE + self.token, time.time())
