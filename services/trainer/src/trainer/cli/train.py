"""The command ``trainer train``, which ``trainer`` alone means: trains one variant."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING

import click

from trainer.cli import options, preparation
from trainer.config.variant import make_variant

if TYPE_CHECKING:
    from trainer.cli.options import DataOptions, RegistryOptions, TrackingOptions
    from trainer.config.parameters import Value


@click.command("train", cls=options.GroupedCommand)
@options.config_option
@options.data_options
@options.registry_options(register=False)
@options.tracking_options
@options.lightgbm_options
def train_command(
    source: DataOptions,
    registry: RegistryOptions,
    tracking: TrackingOptions,
    overrides: Mapping[str, Value],
) -> None:
    """Train one variant: LightGBM with the parameters given, over the baseline."""
    from trainer.registry.model_name import check_name
    from trainer.util.output import print_json, print_start

    name = check_name(registry.model_name)
    variant = make_variant(overrides)
    print_start(f"one variant, {variant.name}")

    from trainer.cli import results
    from trainer.cli.begun_fit import BegunFit
    from trainer.runs.train import train_run

    with ExitStack() as stack:
        begun = BegunFit(variant, stack)
        dataset, target, plan = preparation.prepare(source, tracking, variant.params, on_data=begun.begin)
        result = train_run(variant, dataset, plan, begun=begun.result)
    registered, failed = preparation.register(name, result, dataset, plan) if registry.register else (None, None)
    results.show_warnings(result)
    if tracking.as_json:
        print_json(results.run_content(result) | results.registered_content(registered))
    else:
        results.show_run(result, preparation.ui_command(target))
        results.show_registered(registered)
    if failed is not None:
        raise failed
