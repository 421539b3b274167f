"""The command ``trainer promote``."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from trainer.cli.options.command import GroupedCommand
from trainer.cli.options.csv_files import CSV_OPTIONS
from trainer.cli.options.data import SourceOptions, data_option
from trainer.cli.options.fit import stream_option
from trainer.cli.options.option import gathered, option
from trainer.cli.options.registry import model_name_option
from trainer.cli.options.split import seed_option, test_size_option
from trainer.cli.options.target import positive_option, target_option
from trainer.cli.options.tracking import server_options
from trainer.util.errors import InputError

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

    from trainer.cli.options.tracking import ServerOptions
    from trainer.promotion.policy import PromotionPolicy
    from trainer.registry.registry import Registry


@click.command("promote", cls=GroupedCommand)
@click.argument("model_uri", required=False, help="The version; by default the latest one.")
@option(
    "--version",
    "number",
    type=click.IntRange(1),
    group="Promotion",
    env=None,
    help="The version's number, instead of a model URI. By default the latest version.",
)
@option(
    "--policy",
    type=click.Path(path_type=Path),
    group="Promotion",
    env="TRAINER_POLICY",
    help="A YAML file of constraints, over the default ones.",
)
@option("--show-policy", is_flag=True, group="Promotion", env=None, help="Print the default policy, and end.")
@option(
    "--logged",
    is_flag=True,
    group="Promotion",
    env="TRAINER_LOGGED",
    help="Take the metrics that the runs have logged, even where data is given. The champion's count only if they are"
    " of the same test rows.",
)
@option("--dry-run", is_flag=True, group="Promotion", env=None, help="Check everything, and move nothing.")
@option(
    "--rollback",
    is_flag=True,
    group="Promotion",
    env=None,
    help="Return to the version that was champion before the current one was promoted; no constraint is checked.",
)
@gathered(
    "source",
    SourceOptions,
    data_option(
        "What to test on: the folder or table of the training, of which each version is scored on the rows that its own"
        " run held out, or other data with the same columns. An empty folder stands for the made-up sessions. Without"
        " data, the metrics that the runs have logged are compared."
    ),
    target_option,
    positive_option,
    test_size_option,
    seed_option,
    stream_option,
    *CSV_OPTIONS,
)
@model_name_option
@server_options
def promote_command(
    model_uri: str | None,
    number: int | None,
    policy: Path | None,
    show_policy: bool,
    dry_run: bool,
    rollback: bool,
    logged: bool,
    model_name: str,
    source: SourceOptions,
    server: ServerOptions,
) -> None:
    r"""Make a version of the registered model champion, if it satisfies a policy's constraints.

    MODEL_URI is models:/NAME/VERSION, models:/NAME@ALIAS or runs:/RUN_ID/model. The version is scored on rows
    of the data that it was not trained on, and the current champion on those of them that are new to it, too. Without
    data, the metrics that their runs have logged are compared, if they are of the same test rows.

    \b
    For example:
    trainer promote                                        the latest version
    trainer promote --version 3 --dry-run
    trainer promote --data shop.csv --target Revenue --policy policy.yaml
    trainer promote --rollback

    Exit code 0: promoted (or champion already). 3: refused, with a line for each constraint that is not satisfied.
    1 or 2: an error, and the alias is where it was.
    """
    from trainer.promotion.policy import DEFAULT_POLICY, load_policy

    if show_policy:
        click.echo(DEFAULT_POLICY, nl=False)
        return
    if rollback and (model_uri or number):
        raise InputError("--rollback finds the version itself; name none")
    if model_uri and number:
        raise InputError(f"{model_uri} and --version {number} both name a version; name one")
    started = time.monotonic()
    rules = load_policy(policy)

    from mlflow.exceptions import MlflowException

    from trainer.cli.rollback import roll_back
    from trainer.registry.model_name import check_name
    from trainer.tracking.errors import tracking_error
    from trainer.tracking.settings import configure

    name = check_name(_named(model_uri, model_name))
    configure(server.debug)
    try:
        if rollback:
            roll_back(_open(name, server), dry_run, server.as_json)
        else:
            _promote(name, model_uri, number, rules, dry_run, started, None if logged else source, server)
    except MlflowException as error:
        raise tracking_error(error) from error


def _named(model_uri: str | None, model_name: str) -> str:
    """Return the registered model's name: that in the model's URI, unless the command names one itself."""
    from trainer.tracking.model_uri import ModelUri

    source = click.get_current_context().get_parameter_source("model_name")
    named = ModelUri.parse(model_uri) if model_uri else None
    if model_uri and (named is None or named.model_id is not None or (named.run_id and not named.path)):
        # Else a model of the default name would be looked for.
        from trainer.registry.registry import FORMS

        raise InputError(f"{model_uri}: names no version; expected {FORMS}")
    if source is not ParameterSource.DEFAULT:
        return model_name
    return named.name if named is not None and named.name else model_name


def _open(name: str, server: ServerOptions) -> Registry:
    """Wait for the server, and return the registered model.

    Raises:
        InputError: There is no such registered model.
    """
    from trainer.registry.registry import Registry
    from trainer.registry.suggestions import meant_model
    from trainer.tracking.connection import query

    # Whether the server answers is asked with a question that finds nothing wrong with a model that is not there.
    wanted = f"name = '{name}'"
    uri, found = query(
        server.uri,
        lambda client: client.search_registered_models(wanted, max_results=1),
        wait=server.wait,
    )
    if not found:
        _, meant = query(server.uri, lambda client: meant_model(client, name), wait=server.wait)
        raise InputError(f"there is no registered model {name!r}; {meant} (--model-name)")
    return Registry(uri, name)


def _promote(
    name: str,
    model_uri: str | None,
    number: int | None,
    rules: PromotionPolicy,
    dry_run: bool,
    started: float,
    source: SourceOptions | None,
    server: ServerOptions,
) -> None:
    from trainer.cli.constraints import refuse_failed, show_constraints
    from trainer.cli.promotion_content import approved_metrics, promotion_content
    from trainer.cli.promotion_data import given_loader
    from trainer.util.output import print_json, print_message

    load = given_loader(source)
    registry = _open(name, server)
    version = _choose(registry, model_uri, number)
    champion = registry.aliased()
    if champion is not None and champion.version == version.version:
        print_message(f"version {version.version} of {name} is champion already; nothing was checked or changed")
        if server.as_json:
            print_json(promotion_content(registry, version, champion, None, rules, promoted=False, dry_run=dry_run))
        return
    if str(version.status) != "READY":
        raise InputError(f"version {version.version} of {name} is {version.status}, not READY; choose another one")
    beside = f", beside the champion, version {champion.version}" if champion is not None else ", as first champion"
    print_message(f"checking version {version.version} of {name}{beside} (policy {rules.digest})")

    from trainer.promotion.verdict import check_version
    from trainer.registry.champion import ChampionAlias

    verdict = check_version(registry, version, champion, rules, load)
    promoted = not verdict.failed and not dry_run
    if promoted:
        ChampionAlias(registry).promote(
            version, champion, policy=rules.digest, metrics=approved_metrics(verdict, champion)
        )
    seconds = time.monotonic() - started
    if server.as_json:
        content = promotion_content(registry, version, champion, verdict, rules, promoted=promoted, dry_run=dry_run)
        print_json(content | {"seconds": round(seconds, 2)})
    else:
        show_constraints(verdict)
        print(f"checked  {len(verdict.constraints)} constraints in {seconds:.1f} s")
    stays = f"version {champion.version}" if champion is not None else "none"
    refuse_failed(f"version {version.version} of {name}", verdict, stays)
    if dry_run:
        print_message(f"dry run: version {version.version} would become champion; champion stays {stays}")
    elif not server.as_json:
        print(f"champion {name} version {version.version} (before: {stays})")


def _choose(registry: Registry, model_uri: str | None, number: int | None) -> ModelVersion:
    if number is not None:
        return registry.version(str(number))
    return registry.find(model_uri) if model_uri else registry.latest()
