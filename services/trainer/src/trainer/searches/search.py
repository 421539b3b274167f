"""Searches for good parameters: trials of one study, nested under one parent run, in as many processes as wanted."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from trainer.config.parameter import Value
from trainer.config.variant import describe_params
from trainer.runs.cache_key import sweep_key
from trainer.runs.plan import TrainResult
from trainer.runs.run_config import run_config
from trainer.searches import study
from trainer.searches.heartbeat import WorkerHeartbeat
from trainer.searches.sampler import SeededSampler
from trainer.searches.space import Space
from trainer.searches.storage import open_storage
from trainer.searches.study import PARENT
from trainer.searches.study_pruner import StudyPruner
from trainer.searches.tasks import SearchContext, train_trial
from trainer.searches.trials import COUNTED, Trials, results_of
from trainer.sweeps.comparison_files import Drawing
from trainer.sweeps.parent_run import Comparison, log_comparison, prepare
from trainer.sweeps.sweep import SweepResult, finished_result
from trainer.sweeps.tasks import VariantTask
from trainer.tracking.active_run import ActiveRun
from trainer.tracking.client import Tracking
from trainer.tracking.errors import is_missing, tracking_error
from trainer.tracking.inputs import dataset_inputs, described_inputs
from trainer.tracking.tags import STUDY_TAG
from trainer.util.errors import SweepError
from trainer.util.signals import ignore_signals

if TYPE_CHECKING:
    from trainer.data.dataset import Dataset
    from trainer.parallel.engine import Engine
    from trainer.parallel.progress import View
    from trainer.runs.plan import Plan

TABLE = "trials.csv"


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
    storage = open_storage(settings.storage)
    opened = study.open_study(storage, name, digest, SeededSampler(settings.sampler, plan.config.seed))
    on_open(name, len(opened.study.get_trials(deepcopy=False, states=COUNTED)))
    try:
        with WorkerHeartbeat(opened.study) as member, _parent(opened, member, plan) as parent:
            if opened.made:
                parent.log(params=_parent_params(space, base, dataset, plan, name))
                parent.log_inputs(dataset_inputs(described_inputs(dataset)))
            search = Trials(space, base, opened.study, member, settings.trials)
            shared = SearchContext(
                dataset,
                replace(plan, parent=parent.run_id),
                view.address if view else None,
                None if pool.remote else settings.storage,
                name,
                settings.pruner,
            )
            prune = StudyPruner(storage, name, settings.pruner)

            def answer(report: tuple[int, int, float]) -> bool:
                return prune(*report)

            def again(item: VariantTask, reason: str) -> VariantTask:
                parent.tracking.end_by_key(item.key, "FAILED", reason)
                return search.again(item)

            prepare(pool)
            show = view.show if view is not None else None
            try:
                outcomes = pool.map(train_trial, search.draw(), shared, again=again, show=show, answer=answer)
                with closing(outcomes):
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
            done = SearchResult(parent.run_id, plan.destination.run_url(parent.run_id), results, name)
            log_comparison(pool, _comparison(space, base, dataset, plan, settings, done))
        # Asked after this process has signed off: of processes that end together, at least one is the last.
        done = replace(done, shared=member.others())
    except MlflowException as error:
        raise tracking_error(error) from error
    if search.failed:
        raise SearchFailedError(done, search.failed)
    return done


@contextmanager
def _parent(opened: study.Opened, member: WorkerHeartbeat, plan: Plan) -> Iterator[ActiveRun]:
    """Open the study's parent run, which processes share; the last of them to end has the last word on its status."""
    tracking = plan.destination.open()
    known = None if opened.made else study.wait_for(opened.study, PARENT)
    run_id = known if known is not None and _exists(tracking, known) else None
    name = opened.study.study_name
    tags = {**plan.tags, STUDY_TAG: name}
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
    return bool(info.lifecycle_stage == "active" and info.experiment_id == tracking.destination.experiment_id)


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


def _comparison(
    space: Space, base: Mapping[str, Value], dataset: Dataset, plan: Plan, settings: Settings, done: SearchResult
) -> Comparison:
    tags = {"trainer.trials": str(len(done.results)), "trainer.trials_pruned": str(len(done.pruned))}
    best = done.best
    if best is not None:
        tags |= {
            "trainer.best_run_id": str(best.run_id),
            "trainer.best_variant": describe_params(best.overrides)[:5000],
        }
    pairs = [(result.overrides, result) for result in done.results]
    return Comparison(
        plan.destination,
        done.run_id,
        {} if best is None else best.metrics,
        tags,
        done.results,
        TABLE,
        "search",
        search_config(space, base, dataset, plan, settings),
        Drawing(pairs, f"{dataset.name}, {plan.config.compared_on}", plan.plot_style, "trials"),
        comparison_folder(done),
    )
