"""A search's trials: drawn from the study, told to it when they have ended, and read from it as results."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from optuna.trial import TrialState

from trainer.config.parameter import Value
from trainer.config.parameter_names import parse_param
from trainer.config.task import TaskName
from trainer.config.variant import make_variant
from trainer.runs.plan import TrainResult
from trainer.searches.heartbeat import OWNER, WorkerHeartbeat
from trainer.searches.space import Space
from trainer.sweeps.tasks import VariantTask

if TYPE_CHECKING:
    import optuna

    from trainer.runs.plan import Plan

#: The states of the trials that count.
COUNTED = (TrialState.COMPLETE, TrialState.PRUNED)


class Trials:
    """This process's trials: drawn when a process is free for one, and told to the study when it has ended."""

    def __init__(
        self, space: Space, base: Mapping[str, Value], of: optuna.Study, member: WorkerHeartbeat, trials: int
    ) -> None:
        self._space, self._base, self._study, self._member, self._trials = space, base, of, member, trials
        self._running: dict[int, tuple[optuna.Trial, list[str]]] = {}
        self.failed: list[TrainResult] = []

    def draw(self) -> Iterator[VariantTask]:
        """Yield a new trial as long as the study lacks some."""
        distributions = self._space.distributions()
        while self._room():
            trial = self._study.ask(distributions)
            trial.set_user_attr(OWNER, self._member.token)
            # Numbers are given once: of processes that draw the last trial at the same moment, one goes on.
            if not self._room(trial.number):
                self._study.tell(trial.number, state=TrialState.FAIL)
                return
            overrides = {**self._space.fixed, **dict(parse_param(name, value) for name, value in trial.params.items())}
            variant = make_variant(overrides, self._base, f"trial {trial.number}")
            item = VariantTask(variant, uuid.uuid4().hex, trial.number)
            self._running[trial.number] = (trial, [item.key])
            yield item

    def _room(self, number: int | None = None) -> bool:
        """Tell whether the study lacks trials, counting those before ``number``; failures use up their place."""
        self._member.release_abandoned()
        states = (*COUNTED, TrialState.RUNNING)
        trials = self._study.get_trials(deepcopy=False, states=states)
        count = sum(1 for trial in trials if number is None or trial.number < number)
        return count + len(self.failed) < self._trials

    def again(self, item: VariantTask) -> VariantTask:
        """Return the same trial for another attempt: its machine was lost."""
        other = item.again()
        self._running[item.index][1].append(other.key)
        return other

    def tell(self, number: int, result: TrainResult) -> None:
        """Tell the study what came of a trial."""
        trial, _ = self._running.pop(number)
        if result.run_id is not None:
            trial.set_user_attr("run_id", result.run_id)
        if result.error is not None:
            self.failed.append(result)
            trial.set_user_attr("error", result.error)
            self._study.tell(number, state=TrialState.FAIL)
        elif result.pruned is not None:
            trial.set_user_attr("pruned", result.pruned)
            self._study.tell(number, state=TrialState.PRUNED)
        else:
            trial.set_user_attr("metrics", dict(result.metrics))
            trial.set_user_attr("iterations", result.iterations)
            trial.set_user_attr("curve", result.curve)
            trial.set_user_attr("warnings", result.warnings)
            self._study.tell(number, result.score)

    def abandon(self) -> list[str]:
        """Give the running trials up, so that others may take their place; return their runs' keys."""
        for number in self._running:
            self._study.tell(number, state=TrialState.FAIL, skip_if_finished=True)
        return [key for _, keys in self._running.values() for key in keys]


def results_of(of: optuna.Study, space: Space, plan: Plan, task: TaskName = "binary") -> Iterator[TrainResult]:
    """Yield the study's ended trials as results, in their order; those that never got a run are left out."""
    for trial in of.get_trials(deepcopy=False):
        attributes = trial.user_attrs
        if not trial.state.is_finished() or not ({"run_id", "error"} & attributes.keys()):
            continue
        run_id = attributes.get("run_id")
        complete = trial.state == TrialState.COMPLETE
        yield TrainResult(
            name=f"trial {trial.number}",
            overrides={**space.fixed, **trial.params},
            run_id=run_id,
            url=plan.destination.run_url(run_id) if run_id else None,
            model_uri=f"runs:/{run_id}/model" if complete else None,
            metrics=attributes.get("metrics", {}),
            iterations=attributes.get("iterations"),
            error=attributes.get("error"),
            pruned=attributes.get("pruned"),
            curve=tuple(attributes.get("curve", ())),
            metric=plan.config.metric,
            warnings=tuple(attributes.get("warnings", ())),
            task=task,
        )
