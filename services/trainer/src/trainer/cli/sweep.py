"""The command ``trainer sweep``: trains several variants side by side."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from trainer.cli import options
from trainer.cli import preparation as training
from trainer.config import parameters as params

if TYPE_CHECKING:
    from trainer.registry.registry import Registration
    from trainer.runs.plan import Result
    from trainer.util.errors import TrainerError


@click.command("sweep", cls=options.GroupedCommand)
@options.option(
    "--variants",
    type=click.Path(path_type=Path),
    group="Sweep",
    env="TRAINER_VARIANTS",
    help="A YAML list of mappings from LightGBM parameter to value. Without it, the standard variants:"
    " (n_estimators, learning_rate) = (200, 0.05), (500, 0.025), (1000, 0.01).",
)
@options.option(
    "--grid",
    multiple=True,
    metavar="NAME=V1,V2,…",
    group="Sweep",
    env="TRAINER_GRID",
    help="Values of a parameter, combined with every value of the other --grid lists: two lists of two values"
    " are a grid of 2 × 2 = 4 variants. Repeatable.",
)
@options.option(
    "--paired",
    multiple=True,
    metavar="NAME=V1,V2,…",
    group="Sweep",
    env="TRAINER_PAIRED",
    help="Values of a parameter, the first paired with the first of the other --paired lists, the second with the"
    " second: two lists of two values are 2 pairs. Repeatable; with --grid, each pair meets each point of the grid.",
)
@options.option(
    "--jobs",
    type=click.IntRange(1, 1024),
    group="Sweep",
    env="TRAINER_JOBS",
    help="Variants trained side by side; by default as many as there are processors. Results do not depend on it.",
)
@options.option(
    "--again",
    is_flag=True,
    group="Sweep",
    env="TRAINER_AGAIN",
    help="Train every variant. Otherwise those that the experiment already holds, finished with the same data,"
    " parameters, seed, splits and code, are skipped.",
)
@options.data_options
@options.registry_options(register=True)
@options.tracking_options
@options.lightgbm_options
def sweep_command(
    variants: Path | None,
    grid: tuple[str, ...],
    paired: tuple[str, ...],
    jobs: int | None,
    again: bool,
    **given: Any,
) -> None:
    r"""Train several variants side by side, as nested runs of one parent run.

    LightGBM's parameters given here hold for all variants; a variant's own values win. An interrupted sweep
    goes on where it was when the same command is given again.

    \b
    For example:
    trainer sweep --grid n_estimators=200,500 --grid learning_rate=0.05,0.1         grid of 2 × 2 = 4 variants
    trainer sweep --paired n_estimators=200,500 --paired learning_rate=0.05,0.025   2 pairs
    """
    from trainer.parallel.pool import Engine, available_cpus
    from trainer.tracking.client import configure

    base = training.overrides(given)
    from trainer.cli import results as report
    from trainer.registry import registry
    from trainer.sweeps import sweep
    from trainer.sweeps.variants import choose

    model_name = registry.check_name(given["model_name"])

    choice = choose(variants, grid, paired, base)
    chosen = choice.variants
    configure(given["debug"])
    served = (given["tracking_uri"] or "").startswith(("http://", "https://"))
    preload = sweep.PRELOAD if served else sweep.PRELOAD + sweep.PRELOAD_EMBEDDED
    engine = Engine(min(jobs or available_cpus(), len(chosen)), preload)
    # From here the processes' imports go on beside this process's own.
    engine.warm_up()

    for remark in choice.notes:
        report.note(remark)
    report.note(f"{choice.words}, {engine.jobs} at a time")
    dataset, target, plan = training.prepare(given, *(variant.params for variant in chosen))

    from trainer.parallel import progress
    from trainer.runs import resume

    reused = {} if again else resume.finished(chosen, dataset, plan)
    if reused:
        report.note(
            f"{len(reused)} of {len(chosen)} variants finished before, with the same data, parameters and code:"
            " skipped (--again trains them anew)"
        )

    def on_result(result: Result, done: int) -> None:
        if result.error is None:
            outcome = f"validation AP {result.score:.4f}, test AP {result.metrics['average_precision']:.4f}"
        else:
            outcome = f"failed: {result.error}"
        report.note(f"[{done}/{len(chosen)}] {result.name}: {outcome}")

    failed: TrainerError | None = None
    registered: Registration | None = None
    name = f"sweep: {params.describe(base)}" if base else "sweep"
    try:
        with progress.view(len(chosen), done=len(reused)) as view:
            done = sweep.run(chosen, dataset, plan, engine, name=name, reused=reused, on_result=on_result, view=view)
    except sweep.SweepFailedError as error:
        failed, done = error, error.result
    if given["register"] and done.best is not None:
        if failed is not None:
            report.note("the best model is not registered: not all variants finished; the same command again goes on")
        else:
            registered, failed = training.register(model_name, done.best, dataset, plan, done.run_id)
    if given["as_json"]:
        report.as_json(report.sweep_content(done) | report.registered_content(registered))
    else:
        report.show_sweep(done, training.ui_command(target))
        report.show_registered(registered)
    if failed is not None:
        raise failed
