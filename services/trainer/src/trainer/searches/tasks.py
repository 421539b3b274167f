"""What a search's processes run: one trial, from what the parent process hands over."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from trainer.parallel.progress import Reporter
from trainer.runs.plan import TrainResult
from trainer.runs.resume import FinishedRun, run_result
from trainer.runs.train import train_run
from trainer.searches.pruning_callback import PruningCallback
from trainer.sweeps.tasks import SweepContext, VariantTask
from trainer.tracking.settings import configure
from trainer.util.errors import PrunedError


@dataclass(frozen=True)
class SearchContext(SweepContext):
    """What all trials of a search share."""

    #: Where the study is kept; None where the trials run on other machines, which ask the process that has it.
    storage: str | None = None
    study: str = ""
    pruner: str = "none"


def train_trial(item: VariantTask, shared: SearchContext) -> TrainResult:
    """Train and track a trial in this process, and ask the study on the way whether to go on."""
    configure()
    if item.former is not None and (finished := shared.plan.destination.open().find_finished(item.former)) is not None:
        # The machine was lost between the run's end and the answer.
        return run_result(item.variant, FinishedRun.of(finished), shared.dataset, shared.plan, reused=False)
    reporters = [Reporter(shared.progress, item.index, item.variant.name)] if shared.progress is not None else []
    pruning = PruningCallback(item.index, shared.plan.config.metric, _reporting(shared))
    try:
        return train_run(item.variant, shared.dataset, shared.plan, item.key, [*reporters, pruning])
    except PrunedError as pruned:
        result = TrainResult(name=item.variant.name, overrides=item.variant.overrides, pruned=len(pruned.loss))
        return replace(result, run_id=pruned.run_id, url=shared.plan.destination.run_url(str(pruned.run_id)))


def _reporting(shared: SearchContext) -> Callable[[int, int, float], bool]:
    """Return what takes a trial's reports and tells whether it shall end: the study, or the process that has it."""
    if shared.storage is None:
        from trainer.parallel.cluster.remote_task import PROCESS

        return lambda *report: bool(PROCESS.ask_client(report))
    from trainer.searches.storage import open_storage
    from trainer.searches.study_pruner import StudyPruner

    return StudyPruner(open_storage(shared.storage), shared.study, shared.pruner)
