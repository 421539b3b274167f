"""The command ``trainer train``, which ``trainer`` alone means: trains one variant."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import click

from trainer.cli import preparation
from trainer.cli.options.cluster import CLUSTER, cluster_option, distributed_option
from trainer.cli.options.command import GroupedCommand
from trainer.cli.options.config_file import config_option
from trainer.cli.options.data import data_options
from trainer.cli.options.estimator import estimator_option, estimator_params_option
from trainer.cli.options.lightgbm import lightgbm_options
from trainer.cli.options.registry import registry_options
from trainer.cli.options.tracking import tracking_options
from trainer.config.other_estimator import parse_other_estimator
from trainer.config.variant import make_other, make_variant
from trainer.util.errors import InputError

if TYPE_CHECKING:
    from trainer.cli.begun_fit import BegunFit
    from trainer.cli.options.data import DataOptions
    from trainer.cli.options.registry import RegistryOptions
    from trainer.cli.options.tracking import TrackingOptions
    from trainer.cli.run_on_worker import RunOnWorker
    from trainer.cli.spread_fit import SpreadFit
    from trainer.config.parameter import Value
    from trainer.config.variant import Variant


@click.command("train", cls=GroupedCommand)
@config_option
@data_options
@estimator_option
@estimator_params_option
@distributed_option
@cluster_option
@registry_options(register=False)
@tracking_options
@lightgbm_options
def train_command(
    source: DataOptions,
    estimator: str | None,
    estimator_params: dict[str, Any] | None,
    distributed: bool,
    cluster: str | None,
    registry: RegistryOptions,
    tracking: TrackingOptions,
    overrides: Mapping[str, Value],
) -> None:
    """Train one variant: LightGBM with the parameters given, over the baseline; or another estimator."""
    from trainer.registry.model_name import check_name
    from trainer.util.output import print_json, print_start

    name = check_name(registry.model_name)
    variant = _variant(overrides, estimator, estimator_params, source)
    if distributed and variant.other is not None:
        raise InputError("--distributed is LightGBM's; leave it out beside --estimator")
    print_start(f"one variant, {variant.name}")

    from trainer.cli import results

    with ExitStack() as stack:
        held_for = None if variant.other is None else "--estimator"
        preparation.check_held(source, held_for)
        way = _how_to_train(variant, distributed, cluster, source.folds, tracking, stack)
        dataset, destination, plan = preparation.prepare(
            source,
            tracking,
            variant.params,
            on_data=way.begin,
            held_for=held_for,
            distributed=distributed,
            engine=way.engine,
        )
        result = way.train(dataset, plan)
        registered, failed = None, None
        if registry.register:
            registered, failed = preparation.register(name, result, dataset, plan, engine=way.engine)
    results.show_warnings(result)
    if tracking.as_json:
        print_json(results.run_content(result) | results.registered_content(registered))
    else:
        results.show_run(result, preparation.ui_command(destination))
        results.show_registered(registered)
    if failed is not None:
        raise failed


def _how_to_train(
    variant: Variant,
    distributed: bool,
    cluster: str | None,
    folds: int | None,
    tracking: TrackingOptions,
    stack: ExitStack,
) -> BegunFit | SpreadFit | RunOnWorker:
    """Return how the variant is trained: here; by the workers of a cluster together; or by one of them."""
    if distributed or (cluster and folds):
        from trainer.cli.spread_fit import SpreadFit

        return SpreadFit(variant, distributed, stack, cluster or CLUSTER, tracking.wait)
    if cluster:
        from trainer.cli.run_on_worker import RunOnWorker

        return RunOnWorker(variant, stack, cluster, tracking)
    from trainer.cli.begun_fit import BegunFit

    return BegunFit(variant, stack)


def _variant(
    overrides: Mapping[str, Value], path: str | None, params: dict[str, Any] | None, source: DataOptions
) -> Variant:
    """Return what to train.

    Raises:
        InputError: Options of LightGBM and of another estimator are given together.
    """
    if path is None:
        if params:
            raise InputError("--estimator-params: name the estimator with --estimator")
        return make_variant(overrides)
    if overrides:
        name = next(iter(overrides)).replace("_", "-")
        raise InputError(f"--{name} is LightGBM's; --estimator takes its parameters by --estimator-params")
    if source.explain:
        raise InputError("--explain takes LightGBM's trees; leave it out beside --estimator")
    if source.monotone:
        raise InputError("--monotone takes LightGBM's trees; leave it out beside --estimator")
    variant = make_other(parse_other_estimator(path, params))
    # What is wrong with it is said before the data is read.
    from trainer.training.other_estimators import make_estimator

    assert variant.other is not None  # noqa: S101 - it was made of one
    make_estimator(variant.other, source.seed, source.task)
    return variant
