"""The command ``trainer promote``."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from trainer.cli import options
from trainer.util.errors import InputError, RefusedError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mlflow.entities.model_registry import ModelVersion

    from trainer.cli.options import ServerOptions, SourceOptions
    from trainer.data.dataset import Dataset
    from trainer.promotion.constraints import Verdict
    from trainer.promotion.policy import PromotionPolicy
    from trainer.promotion.trial import VersionMetrics
    from trainer.promotion.unseen import Load
    from trainer.registry.registry import Registry
    from trainer.training.trained_on import TrainedOn


@click.command("promote", cls=options.GroupedCommand)
@click.argument("model_uri", required=False, help="The version; by default the latest one.")
@options.option(
    "--version",
    "number",
    type=click.IntRange(1),
    group="Promotion",
    env=None,
    help="The version's number, instead of a model URI. By default the latest version.",
)
@options.option(
    "--policy",
    type=click.Path(path_type=Path),
    group="Promotion",
    env="TRAINER_POLICY",
    help="A YAML file of constraints, over the default ones.",
)
@options.option("--show-policy", is_flag=True, group="Promotion", env=None, help="Print the default policy, and end.")
@options.option(
    "--logged",
    is_flag=True,
    group="Promotion",
    env="TRAINER_LOGGED",
    help="Take the metrics that the runs have logged, even where data is given. The champion's count only if they are"
    " of the same test rows.",
)
@options.option("--dry-run", is_flag=True, group="Promotion", env=None, help="Check everything, and move nothing.")
@options.option(
    "--rollback",
    is_flag=True,
    group="Promotion",
    env=None,
    help="Return to the version that was champion before the current one was promoted; no constraint is checked.",
)
@options.gathered(
    "source",
    options.SourceOptions,
    options.data_option(
        "What to test on: the folder or table of the training, of which each version is scored on the rows that its own"
        " run held out, or other data with the same columns. An empty folder stands for the made-up sessions. Without"
        " data, the metrics that the runs have logged are compared."
    ),
    options.target_option,
    options.positive_option,
    options.test_size_option,
    options.seed_option,
    *options.CSV_OPTIONS,
)
@options.model_name_option
@options.server_options
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

    from trainer.registry.model_name import check_name
    from trainer.tracking.errors import tracking_error
    from trainer.tracking.settings import configure

    name = check_name(_named(model_uri, model_name))
    configure(server.debug)
    try:
        if rollback:
            _roll_back(_open(name, server), dry_run, server.as_json)
        else:
            _promote(name, model_uri, number, rules, dry_run, started, None if logged else source, server)
    except MlflowException as error:
        raise tracking_error(error) from error


def _named(model_uri: str | None, model_name: str) -> str:
    """Return the registered model's name: that in the model's URI, unless the command names one itself."""
    from trainer.tracking.model_uri import ModelUri

    source = click.get_current_context().get_parameter_source("model_name")
    named = ModelUri.parse(model_uri) if model_uri and source is ParameterSource.DEFAULT else None
    return named.name if named is not None and named.name else model_name


def _open(name: str, server: ServerOptions) -> Registry:
    """Wait for the server, and return the registered model.

    Raises:
        InputError: There is no such registered model.
    """
    from trainer.registry.registry import Registry
    from trainer.tracking.connection import query

    # Whether the server answers is asked with a question that finds nothing wrong with a model that is not there.
    wanted = f"name = '{name}'"
    uri, found = query(
        server.uri,
        lambda client: client.search_registered_models(wanted, max_results=1),
        wait=server.wait,
    )
    if not found:
        raise InputError(f"there is no registered model {name!r}; 'trainer sweep' registers its best (--model-name)")
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
    from trainer.cli.constraints import failed_constraint, show_constraints
    from trainer.data.sources import check_exists
    from trainer.util.output import print_json, print_message

    load = None
    if source is not None and source.data is not None:
        # How it is read, the version's own run says. Whether it is there can be said at once.
        check_exists(source.data)
        load = _loader(source)
    registry = _open(name, server)
    version = _choose(registry, model_uri, number)
    champion = registry.aliased()
    if champion is not None and champion.version == version.version:
        print_message(f"version {version.version} of {name} is champion already; nothing was checked or changed")
        if server.as_json:
            print_json(_content(registry, version, champion, None, rules, promoted=False, dry_run=dry_run))
        return
    if str(version.status) != "READY":
        raise InputError(f"version {version.version} of {name} is {version.status}, not READY; choose another one")
    beside = f", beside the champion, version {champion.version}" if champion is not None else ", as first champion"
    print_message(f"checking version {version.version} of {name}{beside} (policy {rules.digest})")

    from trainer.promotion.constraints import check_version
    from trainer.registry.champion import ChampionAlias

    verdict = check_version(registry, version, champion, rules, load)
    promoted = not verdict.failed and not dry_run
    if promoted:
        ChampionAlias(registry).promote(version, champion, policy=rules.digest, metrics=_tags(verdict, champion))
    seconds = time.monotonic() - started
    if server.as_json:
        content = _content(registry, version, champion, verdict, rules, promoted=promoted, dry_run=dry_run)
        print_json(content | {"seconds": round(seconds, 2)})
    else:
        show_constraints(verdict)
        print(f"checked  {len(verdict.constraints)} constraints in {seconds:.1f} s")
    stays = f"version {champion.version}" if champion is not None else "none"
    if verdict.failed:
        for constraint in verdict.failed:
            print_message(f"not satisfied: {failed_constraint(constraint)}")
        raise RefusedError(
            f"version {version.version} of {name} is refused: {len(verdict.failed)} of {len(verdict.constraints)}"
            f" constraints are not satisfied; champion stays {stays}"
        )
    if dry_run:
        print_message(f"dry run: version {version.version} would become champion; champion stays {stays}")
    elif not server.as_json:
        print(f"champion {name} version {version.version} (before: {stays})")


def _loader(source: SourceOptions) -> Load:
    """Return what reads the data as a model was trained on it, or as the command says; each way once.

    What the command says of the target and of CSV files goes before what a model remembers. The first model, which is
    the one to be promoted, says how the files are written; its words for missing values are each model's own.
    """
    from trainer.cli.data_warnings import show_data_warnings
    from trainer.config.csv_form import CsvForm
    from trainer.data.sources import load_data

    read: dict[str, Dataset] = {}
    of_file: list[CsvForm] = []

    def load(trained: TrainedOn | None) -> Dataset:
        seed, test_size, types, form = source.seed, source.test_size, None, CsvForm()
        target, positive = source.target, source.positive
        roles: Mapping[str, str] = {}
        task, classes = None, None
        if trained is not None:
            types, roles, form = trained.column_types, trained.roles, trained.form
            task, classes = trained.task, trained.classes
            target, positive = target or trained.target, positive or trained.positive
            if trained.seed is not None and trained.test_size is not None:
                seed, test_size = trained.seed, trained.test_size
        of_file.append(form)
        form = replace(of_file[0], missing=form.missing, not_missing=form.not_missing).with_given(source.csv)
        key = repr((seed, test_size, types, roles, target, positive, form, task, classes))
        if key not in read:
            read[key] = load_data(
                source.data,
                target=target,
                test_size=test_size,
                seed=seed,
                column_types=types,
                positive=positive,
                weight=roles.get("weight"),
                time=roles.get("time"),
                group=roles.get("group"),
                csv=form,
                task=task,
                classes=classes,
            )
            # The table of constraints says that sessions were made up.
            if not read[key].generated:
                show_data_warnings(read[key].warnings)
        return read[key]

    return load


def _choose(registry: Registry, model_uri: str | None, number: int | None) -> ModelVersion:
    if number is not None:
        return registry.version(str(number))
    return registry.find(model_uri) if model_uri else registry.latest()


def _roll_back(registry: Registry, dry_run: bool, as_json: bool) -> None:
    from trainer.registry.champion import ChampionAlias
    from trainer.util.output import print_json, print_message

    alias = ChampionAlias(registry)
    current, previous = alias.rollback_target()
    if not dry_run:
        alias.roll_back(current, previous)
    if as_json:
        print_json(
            {
                "model": registry.name,
                "version": str(previous.version),
                "champion_before": str(current.version),
                "champion": str(current.version if dry_run else previous.version),
                "rollback": True,
                "dry_run": dry_run,
            }
        )
    elif dry_run:
        print_message(f"dry run: champion would return from version {current.version} to version {previous.version}")
    else:
        print(f"champion {registry.name} version {previous.version} (rolled back from version {current.version})")


def _tags(verdict: Verdict, champion: ModelVersion | None) -> dict[str, str]:
    """Return the metrics compared, as a tag of the version."""

    def shown(metrics: VersionMetrics) -> str:
        # Of many classes each, they would be too many for a tag.
        values = ", ".join(f"{name} {value:.6f}" for name, value in metrics.values.items() if "/" not in name)
        return f"{values or 'not known'} (rows {metrics.digest or 'not known'})"

    words = f"{verdict.source}: {shown(verdict.metrics)}"
    if champion is not None and verdict.champion_metrics is not None:
        if verdict.compared.digest != verdict.metrics.digest:
            words += f"; on rows that neither was trained on: {shown(verdict.compared)}"
        words += f"; version {champion.version}: {shown(verdict.champion_metrics)}"
    return {"trainer.approved_metrics": words}


def _content(
    registry: Registry,
    version: ModelVersion,
    champion: ModelVersion | None,
    verdict: Verdict | None,
    rules: PromotionPolicy,
    *,
    promoted: bool,
    dry_run: bool,
) -> dict[str, Any]:
    from trainer.cli.constraints import constraint_content

    before = str(champion.version) if champion is not None else None
    content: dict[str, Any] = {
        "model": registry.name,
        "version": str(version.version),
        "champion_before": before,
        "champion": str(version.version) if promoted else before,
        "promoted": promoted,
        "dry_run": dry_run,
        "policy": rules.digest,
    }
    if verdict is None:
        return content
    return content | {
        "satisfied": not verdict.failed,
        "metrics": {
            "source": verdict.source,
            "version": dict(verdict.metrics.values),
            "version_beside_champion": dict(verdict.compared.values) if verdict.champion_metrics is not None else None,
            "champion": dict(verdict.champion_metrics.values) if verdict.champion_metrics is not None else None,
        },
        "constraints": [constraint_content(constraint) for constraint in verdict.constraints],
    }
