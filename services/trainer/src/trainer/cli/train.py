"""The command ``trainer train``, which ``trainer`` alone means: trains one variant."""

from __future__ import annotations

from typing import Any

import click

from trainer.cli import options
from trainer.cli import preparation as training
from trainer.config import parameters as params


@click.command("train", cls=options.GroupedCommand)
@options.data_options
@options.registry_options(register=False)
@options.tracking_options
@options.lightgbm_options
def train_command(**given: Any) -> None:
    """Train one variant: LightGBM with the parameters given, over the baseline."""
    from trainer.cli import results as report
    from trainer.registry import registry
    from trainer.runs import train as run

    name = registry.check_name(given["model_name"])
    overrides = training.overrides(given)
    variant = params.variant(overrides)
    dataset, target, plan = training.prepare(given, variant.params)
    result = run.train(variant, dataset, plan)
    registered, failed = training.register(name, result, dataset, plan) if given["register"] else (None, None)
    if given["as_json"]:
        report.as_json(report.run_content(result) | report.registered_content(registered))
    else:
        report.show_run(result, training.ui_command(target))
        report.show_registered(registered)
    if failed is not None:
        raise failed
