"""The command ``trainer sweep``: trains several variants side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
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
from trainer.config.variant import describe_params, make_baselines

if TYPE_CHECKING:
    from trainer.cli.options.data import DataOptions
    from trainer.cli.options.registry import RegistryOptions
    from trainer.cli.options.tracking import TrackingOptions
    from trainer.config.other_estimator import OtherEstimator
    from trainer.config.parameter import Value
    from trainer.registry.registry import Registration
    from trainer.runs.plan import TrainResult
    from trainer.util.errors import TrainerError


@click.command("sweep", cls=GroupedCommand)
@config_option
@option(
    "--variants",
    type=Inline(list),
    metavar="FILE",
    group="Sweep",
    env="TRAINER_VARIANTS",
    help="A YAML list of mappings from LightGBM parameter to value; with estimator in it, an item is another"
    " estimator. Without it, the standard variants: (n_estimators, learning_rate) = (200, 0.05), (500, 0.025),"
    " (1000, 0.01).",
)
@option(
    "--grid",
    multiple=True,
    metavar="NAME=V1,V2,…",
    group="Sweep",
    env="TRAINER_GRID",
    help="Values of a parameter, combined with every value of the other --grid lists: two lists of two values"
    " are a grid of 2 × 2 = 4 variants. Repeatable.",
)
@option(
    "--paired",
    multiple=True,
    metavar="NAME=V1,V2,…",
    group="Sweep",
    env="TRAINER_PAIRED",
    help="Values of a parameter, the first paired with the first of the other --paired lists, the second with the"
    " second: two lists of two values are 2 pairs. Repeatable; with --grid, each pair meets each point of the grid.",
)
@option(
    "--jobs",
    type=click.IntRange(1, 1024),
    group="Sweep",
    env="TRAINER_JOBS",
    help="Variants trained side by side; by default as many as there are processors. Results do not depend on it.",
)
@option(
    "--again",
    is_flag=True,
    group="Sweep",
    env="TRAINER_AGAIN",
    help="Train every variant. Otherwise those that the experiment already holds, finished with the same data,"
    " parameters, seed, splits and code, are skipped.",
)
@option(
    "--baselines",
    is_flag=True,
    group="Sweep",
    env="TRAINER_BASELINES",
    help="Also train a constant and a linear model of scikit-learn's, for comparison: they are tracked and shown, and"
    " never chosen as the best.",
)
@cluster_option
@data_options
@registry_options(register=True)
@tracking_options
@lightgbm_options
def sweep_command(
    variants: Path | list[Any] | None,
    grid: tuple[str, ...],
    paired: tuple[str, ...],
    jobs: int | None,
    again: bool,
    baselines: bool,
    cluster: str | None,
    source: DataOptions,
    registry: RegistryOptions,
    tracking: TrackingOptions,
    overrides: Mapping[str, Value],
) -> None:
    r"""Train several variants side by side, as nested runs of one parent run.

    LightGBM's parameters given here hold for all variants; a variant's own values win. An interrupted sweep
    goes on where it was when the same command is given again.

    \b
    For example:
    trainer sweep --grid n_estimators=200,500 --grid learning_rate=0.05,0.1         grid of 2 × 2 = 4 variants
    trainer sweep --paired n_estimators=200,500 --paired learning_rate=0.05,0.025   2 pairs
    """
    from trainer.registry.model_name import check_name
    from trainer.sweeps import sweep
    from trainer.sweeps.variants import select_variants
    from trainer.tracking.settings import configure
    from trainer.util.output import print_json, print_message

    model_name = check_name(registry.model_name)

    choice = select_variants(variants, grid, paired, overrides)
    chosen = list(choice.variants)
    lightgbm = [variant.params for variant in chosen if variant.other is None]
    others = [variant.other for variant in chosen if variant.other is not None]
    _check_others(others, source)
    configure(tracking.debug)
    pool = preparation.open_engine(cluster, jobs, len(chosen), sweep.sweep_preload(tracking.served), tracking)
    from trainer.parallel.spare_process import warmed_up

    with ExitStack() as stack:
        # From here the processes' imports go on beside this process's own.
        spare = stack.enter_context(warmed_up(pool))
        for warning in choice.warnings:
            print_message(warning)
        print_message(f"{choice.words}, {min(pool.jobs, len(chosen))} at a time{preparation.where(cluster)}")

        from trainer.cli import results
        from trainer.cli.begun_variant import BegunVariant
        from trainer.parallel import progress
        from trainer.sweeps.sweep import run_sweep

        held_for = "--baselines" if baselines else "another estimator" if others else None
        address = stack.enter_context(progress.own_address())
        begun = BegunVariant(chosen, spare, address)
        dataset, destination, plan = preparation.prepare(
            source, tracking, *lightgbm, held_for=held_for, on_data=begun.begin, engine=pool
        )
        if baselines:
            chosen += make_baselines(dataset.task)

        from trainer.runs.resume import finished_runs

        reused = {} if again else finished_runs(chosen, dataset, plan, pool)
        if reused:
            print_message(
                f"{len(reused)} of {len(chosen)} variants finished before, with the same data, parameters and code:"
                " skipped (--again trains them anew)"
            )
        if begun.index in reused:
            begun.end()

        def on_result(result: TrainResult, done: int) -> None:
            print_message(f"[{done}/{len(chosen)}] {result.name}: {results.outcome(result)}")

        failed: TrainerError | None = None
        registered: Registration | None = None
        name = f"sweep: {describe_params(overrides)}" if overrides else "sweep"
        try:
            with progress.view(len(chosen), done=len(reused), address=address) as view:
                done = run_sweep(
                    chosen,
                    dataset,
                    plan,
                    pool,
                    name=name,
                    reused=reused,
                    on_result=on_result,
                    view=view,
                    begun=begun.running,
                )
        except sweep.SweepFailedError as error:
            failed, done = error, error.result
    if registry.register and done.best is not None:
        if failed is not None:
            print_message("the best model is not registered: not all variants finished; the same command again goes on")
        else:
            registered, failed = preparation.register(model_name, done.best, dataset, plan, done.run_id, pool)
    results.show_warnings(done.best, f"best, {done.best.name}" if done.best is not None else "")
    if (no_better := done.baseline_warning) is not None:
        print_message(no_better)
    if tracking.as_json:
        print_json(results.sweep_content(done) | results.registered_content(registered))
    else:
        results.show_sweep(done, preparation.ui_command(destination))
        results.show_registered(registered)
    if failed is not None:
        raise failed


def _check_others(others: Sequence[OtherEstimator], source: DataOptions) -> None:
    """Check the estimators that are not LightGBM, before the data is read, and name the options that are not theirs."""
    if not others:
        return
    from trainer.training.other_estimators import make_estimator
    from trainer.util.output import print_message

    for other in others:
        make_estimator(other, source.seed, source.task)
    for name, given in (("--explain", source.explain), ("--monotone", source.monotone)):
        if given:
            print_message(f"{name} holds for LightGBM's variants alone")
