"""The command ``trainer search``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from trainer.cli import preparation
from trainer.cli.options.cluster import cluster_option
from trainer.cli.options.command import GroupedCommand
from trainer.cli.options.config_file import config_option
from trainer.cli.options.data import data_options
from trainer.cli.options.lightgbm import lightgbm_options
from trainer.cli.options.option import option
from trainer.cli.options.registry import registry_options
from trainer.cli.options.tracking import tracking_options
from trainer.cli.options.value_types import Inline
from trainer.config.variant import complete_params

if TYPE_CHECKING:
    from trainer.cli.options.data import DataOptions
    from trainer.cli.options.registry import RegistryOptions
    from trainer.cli.options.tracking import TrackingOptions
    from trainer.config.parameter import Value
    from trainer.registry.registry import Registration
    from trainer.runs.plan import TrainResult
    from trainer.util.errors import TrainerError

STORAGE = "optuna.journal"


@click.command("search", cls=GroupedCommand)
@config_option
@option(
    "--space",
    type=Inline(dict),
    metavar="FILE",
    group="Search",
    env="TRAINER_SPACE",
    help="A YAML mapping from parameter to a range {low, high, step, log}, a list of values, or one value. Without it,"
    " a standard space of six parameters.",
)
@option(
    "--trials",
    type=click.IntRange(1, 100_000),
    default=30,
    show_default=True,
    group="Search",
    env="TRAINER_TRIALS",
    help="Trials that the study shall hold in all, finished or pruned, whoever made them.",
)
@option(
    "--sampler",
    type=click.Choice(("tpe", "random")),
    default="tpe",
    show_default=True,
    group="Search",
    env="TRAINER_SAMPLER",
    help="Learn from earlier trials where to look (tree-structured Parzen estimator), or draw at random.",
)
@option(
    "--pruner",
    type=click.Choice(("median", "hyperband", "none")),
    default="median",
    show_default=True,
    group="Search",
    env="TRAINER_PRUNER",
    help="End a trial whose --metric is worse than others' at the same share of their iterations.",
)
@option(
    "--storage",
    default=STORAGE,
    show_default=True,
    group="Search",
    env="TRAINER_STORAGE",
    help="Where the trials are kept: a file (a journal), or a database's URL such as sqlite:///trials.db.",
)
@option(
    "--study",
    group="Search",
    env="TRAINER_STUDY",
    help="The study's name; by default one made of data, space and seed, so that the same command goes on with it.",
)
@option(
    "--jobs",
    type=click.IntRange(1, 1024),
    group="Search",
    env="TRAINER_JOBS",
    help="Trials side by side; by default as many as there are processors, or workers with --cluster. One job makes a"
    " search reproducible.",
)
@cluster_option
@data_options
@registry_options(register=True)
@tracking_options
@lightgbm_options
def search_command(
    space: Path | dict[str, Any] | None,
    trials: int,
    sampler: str,
    pruner: str,
    storage: str,
    study: str | None,
    jobs: int | None,
    cluster: str | None,
    source: DataOptions,
    registry: RegistryOptions,
    tracking: TrackingOptions,
    overrides: Mapping[str, Value],
) -> None:
    """Search for good parameters with Optuna, each trial as a nested run of one parent run.

    LightGBM's parameters given here hold for all trials. An interrupted search goes on when the same command is given
    again; several processes that name the same storage and study share one search.
    """
    from trainer.registry.model_name import check_name
    from trainer.searches.space import load_space, make_space
    from trainer.tracking.settings import configure
    from trainer.util.output import print_json, print_message, print_start

    model_name = check_name(registry.model_name)
    wanted = make_space(space, overrides) if isinstance(space, dict) else load_space(space, overrides)
    print_start(f"a search of {trials} trials")
    configure(tracking.debug)

    from trainer.sweeps import sweep

    preload = (*sweep.sweep_preload(tracking.served), "optuna")
    pool = preparation.open_engine(cluster, jobs, trials, preload, tracking)
    pool.warm_up()

    from trainer.cli import results
    from trainer.parallel import progress
    from trainer.searches import search
    from trainer.searches.search import run_search

    settings = search.Settings(trials, storage, study, sampler, pruner)
    if wanted.size < trials:
        print_message(f"the space has {wanted.size:.0f} points, fewer than {trials} trials: some will be tried twice")
    dataset, destination, plan = preparation.prepare(source, tracking, complete_params(overrides, wanted.fixed))

    def on_open(name: str, done: int) -> None:
        at_once = f"{min(pool.jobs, trials)} at a time{preparation.where(cluster)}"
        print_message(f"study {name} in {storage}: {done} of {trials} trials, {at_once}")

    def on_result(result: TrainResult) -> None:
        print_message(_trial_line(result))

    failed: TrainerError | None = None
    registered: Registration | None = None
    try:
        with progress.view(trials, "trials") as view:
            done = run_search(
                wanted, overrides, dataset, plan, pool, settings, on_result=on_result, on_open=on_open, view=view
            )
    except search.SearchFailedError as error:
        failed, done = error, error.result
    if registry.register and done.best is not None:
        if failed is not None:
            print_message("the best model is not registered: some trials failed; the same command again goes on")
        elif done.shared:
            print_message("other processes still search: the last of them to end registers the best model")
        else:
            registered, failed = preparation.register(model_name, done.best, dataset, plan, done.run_id)
    results.show_warnings(done.best, f"best, {done.best.name}" if done.best is not None else "")
    if tracking.as_json:
        print_json(results.sweep_content(done) | {"study": done.study} | results.registered_content(registered))
    else:
        results.show_search(done, preparation.ui_command(destination))
        results.show_registered(registered)
    if failed is not None:
        raise failed


def _trial_line(result: TrainResult) -> str:
    """Return what is said of a trial that has ended."""
    from trainer.cli import results

    words = results.brief(result.overrides)
    if result.error is not None:
        return f"{result.name} failed: {result.error}"
    if result.pruned is not None:
        return f"{result.name}: pruned after {result.pruned} iterations ({words})"
    return f"{result.name}: validation {results.score(result)} ({words})"
