"""What a search's processes run: one trial, from what the parent process hands over."""

from __future__ import annotations

from dataclasses import dataclass, replace

from trainer.parallel.progress import Reporter
from trainer.runs.plan import TrainResult
from trainer.runs.resume import run_result
from trainer.runs.train import train_run
from trainer.sweeps.tasks import SweepContext, VariantTask
from trainer.tracking.settings import configure
from trainer.util.errors import PrunedError


@dataclass(frozen=True)
class SearchContext(SweepContext):
    """What all trials of a search share."""

    storage: str = ""
    study: str = ""
    pruner: str = "none"


def train_trial(item: VariantTask, shared: SearchContext) -> TrainResult:
    """Train and track a trial in this process, and ask the study on the way whether to go on."""
    from trainer.searches.pruning import Pruning

    configure()
    if item.former is not None and (finished := shared.plan.target.open().find_finished(item.former)) is not None:
        # The machine was lost between the run's end and the answer.
        return run_result(item.variant, finished, shared.dataset, shared.plan, reused=False)
    reporters = [Reporter(shared.progress, item.index, item.variant.name)] if shared.progress is not None else []
    pruning = Pruning(shared.storage, shared.study, item.index, shared.pruner, shared.plan.config.metric)
    try:
        return train_run(item.variant, shared.dataset, shared.plan, item.key, [*reporters, pruning])
    except PrunedError as pruned:
        result = TrainResult(name=item.variant.name, overrides=item.variant.overrides, pruned=len(pruned.loss))
        return replace(result, run_id=pruned.run_id, url=shared.plan.target.run_url(str(pruned.run_id)))
