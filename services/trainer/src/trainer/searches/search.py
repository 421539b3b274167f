"""Searches for good parameters: trials of one study, nested under one parent run, in as many processes as wanted."""

from __future__ import annotations

import hashlib
import json
import tempfile
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optuna.trial import TrialState

from trainer import plots
from trainer.config.parameters import Value, parse_param
from trainer.config.task import TaskName
from trainer.config.variant import describe_params, make_variant
from trainer.runs.cache_key import sweep_key
from trainer.runs.plan import TrainResult
from trainer.runs.run_config import run_config, write_config
from trainer.searches import study
from trainer.searches.heartbeat import OWNER, WorkerHeartbeat
from trainer.searches.sampler import SeededSampler
from trainer.searches.space import Space
from trainer.searches.storage import open_storage
from trainer.searches.study import PARENT
from trainer.searches.tasks import SearchContext, train_trial
from trainer.sweeps.sweep import SweepResult, finished_result, write_plots, write_table
from trainer.sweeps.tasks import VariantTask
from trainer.tracking.active_run import ActiveRun
from trainer.tracking.client import Tracking
from trainer.tracking.errors import is_missing, tracking_error
from trainer.tracking.inputs import dataset_inputs
from trainer.tracking.logged_metrics import metric_values
from trainer.util.errors import SweepError
from trainer.util.signals import ignore_signals

if TYPE_CHECKING:
    import optuna

    from trainer.data.dataset import Dataset
    from trainer.parallel.engine import Engine
    from trainer.parallel.progress import View
    from trainer.runs.plan import Plan

TABLE = "trials.csv"
_COUNTED = (TrialState.COMPLETE, TrialState.PRUNED)


@dataclass(frozen=True)
class Settings:
    """What a search is asked to do. ``trials`` is how many the study shall hold in all, whoever makes them."""

    trials: int
    storage: str
    study: str | None = None
    sampler: str = "tpe"
    pruner: str = "median"


@dataclass(frozen=True)
class SearchResult(SweepResult):
    """What the study holds: its trials in their order, those of earlier and other processes included."""

    study: str = ""
    #: Whether other processes were still at it when this one ended.
    shared: bool = False

    @property
    def pruned(self) -> list[TrainResult]:
        """The trials that were ended early."""
        return [result for result in self.results if result.pruned is not None]


class SearchFailedError(SweepError):
    """Some trials of a search failed; ``result`` holds what the study has."""

    def __init__(self, result: SearchResult, failed: list[TrainResult]) -> None:
        self.result = result
        super().__init__(f"{len(failed)} trials failed; {failed[0].name}: {failed[0].error}")


def search_key(space: Space, base: Mapping[str, Value], dataset: Dataset, plan: Plan) -> str:
    """Return the digest (16 hexadecimal digits) of what all trials of a search have in common."""
    content = [sweep_key(dataset, plan.config), repr(space), sorted(base.items())]
    return hashlib.sha256(json.dumps(content, default=repr).encode()).hexdigest()[:16]


def run_search(
    space: Space,
    base: Mapping[str, Value],
    dataset: Dataset,
    plan: Plan,
    pool: Engine,
    settings: Settings,
    *,
    on_result: Callable[[TrainResult], None] = lambda _result: None,
    on_open: Callable[[str, int], None] = lambda _name, _done: None,
    view: View | None = None,
) -> SearchResult:
    """Make trials until the study holds as many as wanted, and track each as a run.

    Args:
        space: What to vary.
        base: What the trials have in common.
        dataset: What to train on.
        plan: Where to track.
        pool: Runs the trials.
        settings: How to search.
        on_result: Called with each trial's result as it comes.
        on_open: Called with the study's name and the number of trials it holds already.
        view: Shows the progress of those that run.

    Raises:
        SearchFailedError: Some of this process's trials failed; holds what the study has.
        TrackingError: The parent run cannot be tracked.
        InputError: The storage or the study cannot be used.
    """
    from mlflow.exceptions import MlflowException

    digest = search_key(space, base, dataset, plan)
    name = settings.study or f"search-{digest[:8]}"
    opened = study.open_study(
        open_storage(settings.storage), name, digest, SeededSampler(settings.sampler, plan.config.seed)
    )
    on_open(name, len(opened.study.get_trials(deepcopy=False, states=_COUNTED)))
    try:
        with WorkerHeartbeat(opened.study) as member, _parent(opened, member, plan) as parent:
            if opened.made:
                parent.log(params=_parent_params(space, base, dataset, plan, name))
                parent.log_inputs(dataset_inputs(dataset))
            search = _Search(space, base, opened.study, member, settings.trials)
            shared = SearchContext(
                dataset,
                replace(plan, parent=parent.run_id),
                view.address if view else None,
                settings.storage,
                name,
                settings.pruner,
            )
            # While the processes still import, this one need not wait: it will draw, too.
            plots.warm_up()
            try:
                with closing(pool.map(train_trial, search.draw(), shared)) as outcomes:
                    for outcome in outcomes:
                        result = finished_result(outcome, parent.tracking)
                        search.tell(outcome.item.index, result)
                        if view is not None:
                            view.end(outcome.item.index)
                        on_result(result)
            except BaseException as error:
                status = "KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED"
                with ignore_signals():
                    all(parent.tracking.end_by_key(key, status) for key in search.abandon())
                raise
            results = tuple(results_of(opened.study, space, plan, dataset.task))
            done = SearchResult(parent.run_id, plan.target.run_url(parent.run_id), results, name)
            config = search_config(space, base, dataset, plan, settings)
            _log_comparison(parent, done, f"{dataset.name}, {plan.config.compared_on}", config)
        # Asked after this process has signed off: of processes that end together, at least one is the last.
        done = replace(done, shared=member.others())
    except MlflowException as error:
        raise tracking_error(error) from error
    if search.failed:
        raise SearchFailedError(done, search.failed)
    return done


class _Search:
    """This process's trials: drawn when a process is free for one, and told to the study when it has ended."""

    def __init__(
        self, space: Space, base: Mapping[str, Value], of: optuna.Study, member: WorkerHeartbeat, trials: int
    ) -> None:
        self._space, self._base, self._study, self._member, self._trials = space, base, of, member, trials
        self._running: dict[int, tuple[optuna.Trial, str]] = {}
        self.failed: list[TrainResult] = []

    def draw(self) -> Iterator[VariantTask]:
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
            self._running[trial.number] = (trial, item.key)
            yield item

    def _room(self, number: int | None = None) -> bool:
        """Tell whether the study lacks trials, counting those before ``number``; failures use up their place."""
        self._member.release_abandoned()
        states = (*_COUNTED, TrialState.RUNNING)
        trials = self._study.get_trials(deepcopy=False, states=states)
        count = sum(1 for trial in trials if number is None or trial.number < number)
        return count + len(self.failed) < self._trials

    def tell(self, number: int, result: TrainResult) -> None:
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
        return [key for _, key in self._running.values()]


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
            url=plan.target.run_url(run_id) if run_id else None,
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


@contextmanager
def _parent(opened: study.Opened, member: WorkerHeartbeat, plan: Plan) -> Iterator[ActiveRun]:
    """Open the study's parent run, which processes share; the last of them to end has the last word on its status."""
    tracking = plan.target.open()
    known = None if opened.made else study.wait_for(opened.study, PARENT)
    run_id = known if known is not None and _exists(tracking, known) else None
    name = opened.study.study_name
    tags = {**plan.tags, "trainer.study": name}
    try:
        with tracking.run(name, tags) if run_id is None else tracking.reopened(run_id) as parent:
            run_id = parent.run_id
            if known != run_id:
                opened.study.set_user_attr(PARENT, run_id)
            yield parent
    finally:
        if run_id is not None and member.others():
            # Whether or not that works: what ended this process is what to tell, and the others set the status again.
            tracking.reopen(run_id)


def _exists(tracking: Tracking, run_id: str) -> bool:
    from mlflow.exceptions import MlflowException

    try:
        info = tracking.call(tracking.client.get_run, run_id).info
    except MlflowException as error:
        if is_missing(error):
            return False
        raise
    return bool(info.lifecycle_stage == "active" and info.experiment_id == tracking.target.experiment_id)


def _parent_params(space: Space, base: Mapping[str, Value], dataset: Dataset, plan: Plan, name: str) -> dict[str, Any]:
    described = {
        f"space.{dimension.name}": list(dimension.choices)
        if dimension.choices
        else f"{dimension.low:g} to {dimension.high:g}"
        + (f", step {dimension.step:g}" if dimension.step else "")
        + (", log" if dimension.log else "")
        for dimension in space.dimensions
    }
    return {
        **base,
        **space.fixed,
        **described,
        "study": name,
        **plan.config.parameters(),
        "data": dataset.name,
        "data_digest": dataset.digest,
        "target": dataset.target,
    }


def comparison_folder(done: SearchResult) -> str:
    """Return the folder among the parent run's artifacts that compares the trials made so far."""
    return f"after_{len(done.results)}_trials"


def search_config(
    space: Space, base: Mapping[str, Value], dataset: Dataset, plan: Plan, settings: Settings
) -> dict[str, Any]:
    """Return the options that repeat a search. Where its trials are kept is not among them."""
    return {
        **run_config(base, dataset, plan),
        "trials": settings.trials,
        "sampler": settings.sampler,
        "pruner": settings.pruner,
        "space": space.described(),
    }


def _log_comparison(parent: ActiveRun, done: SearchResult, subtitle: str, config: Mapping[str, Any]) -> None:
    tags = {"trainer.trials": str(len(done.results)), "trainer.trials_pruned": str(len(done.pruned))}
    best = done.best
    if best is not None:
        tags |= {
            "trainer.best_run_id": str(best.run_id),
            "trainer.best_variant": describe_params(best.overrides)[:5000],
        }
    parent.log(metric_values(best.metrics) if best is not None else (), tags=tags)
    with tempfile.TemporaryDirectory(prefix="trainer-") as folder:
        # A storage may take each name once: whoever resumes a search adds to what is there.
        files = Path(folder) / comparison_folder(done)
        files.mkdir()
        write_table(files / TABLE, done.results)
        write_config(files, "search", config)
        pairs = [(result.overrides, result) for result in done.results]
        write_plots(files / "plots", pairs, subtitle, "trials")
        parent.log_files(Path(folder))
