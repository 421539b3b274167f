"""Registers the copies of a store's model versions, in their order, and sets the aliases that are not there yet."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol
from urllib.parse import unquote, urlsplit

from trainer.tracking.errors import already_exists, is_missing
from trainer.tracking.paging import pages
from trainer.tracking.settings import as_default
from trainer.tracking.uris import without_credentials
from trainer.transfer.copy_marks import MODEL_TAG, VERSION_TAG, copied_tags
from trainer.transfer.push_source import RUN_TAG, SOURCE_TAG, model_id_of
from trainer.transfer.stores import Store

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion, RegisteredModel

#: The stage that a version of MLflow 2 was in.
STAGE_TAG = "trainer.push.stage"


class Tally(Protocol):
    """What is counted, and which copies there are."""

    versions: int
    versions_before: int
    aliases: int
    run_ids: dict[str, str]
    model_ids: dict[str, str]

    def leave_out(self, what: str, say: Callable[[str], None]) -> None:
        """Note what is not brought in."""


def import_versions(source: Store, client: MlflowClient, to_uri: str, tally: Tally, say: Callable[[str], None]) -> None:
    """Register all versions whose runs are there.

    Raises:
        MlflowException: A server fails.
    """
    from mlflow.exceptions import MlflowException

    for model in pages(source.client.search_registered_models):
        quote = '"' if "'" in model.name else "'"
        versions = list(pages(source.client.search_model_versions, f"name = {quote}{model.name}{quote}"))
        try:
            client.create_registered_model(model.name, tags=model.tags, description=model.description)
        except MlflowException as error:
            if not already_exists(error):
                raise
        numbers: dict[str, str] = {}
        for version in sorted(versions, key=lambda one: int(one.version)):
            number = _bring(source, client, to_uri, version, tally)
            if number is None:
                what = f"version {version.version} of {model.name}: its run is not among those that were brought in"
                tally.leave_out(what, say)
                continue
            numbers[str(version.version)] = number
            if number != str(version.version):
                say(f"version {version.version} of {model.name} is version {number} here")
        _import_aliases(client, source.client.get_registered_model(model.name), numbers, tally, say)


def _bring(source: Store, client: MlflowClient, to_uri: str, version: ModelVersion, tally: Tally) -> str | None:
    """Return the number of a version's copy; None where its run is not there."""
    run_id = tally.run_ids.get(version.run_id or "")
    if run_id is None:
        return None
    ids = {
        SOURCE_TAG: without_credentials(source.name),
        RUN_TAG: str(version.run_id),
        VERSION_TAG: f"{version.name}/{version.version}",
    }
    if (found := _find(client, version, ids)) is not None:
        tally.versions_before += 1
        return found
    model_id = tally.model_ids.get(model_id_of(version) or "")
    if model_id is not None:
        ids[MODEL_TAG] = str(model_id_of(version))
        place = f"models:/{model_id}"
    else:
        place = _place_in_run(source, client, version, run_id)
    if str(version.current_stage or "None") != "None":
        ids[STAGE_TAG] = str(version.current_stage)
    # A store without a server looks the model up by the default.
    with as_default(to_uri):
        made = client.create_model_version(
            version.name,
            place,
            run_id=run_id,
            model_id=model_id,
            tags={**copied_tags(version.tags), **ids},
            description=version.description,
        )
    tally.versions += 1
    return str(made.version)


def _find(client: MlflowClient, version: ModelVersion, ids: dict[str, str]) -> str | None:
    quote = '"' if "'" in version.name else "'"
    number = f"{quote}{ids[VERSION_TAG]}{quote}"
    filters = f"name = {quote}{version.name}{quote} AND tags.`{VERSION_TAG}` = {number}"
    for found in client.search_model_versions(filters):
        if found.tags.get(RUN_TAG) == ids[RUN_TAG]:
            return str(found.version)
    return None


def _place_in_run(source: Store, client: MlflowClient, version: ModelVersion, run_id: str) -> str:
    """Return where the files of a version without a logged model are: among its run's artifacts, as in the source."""
    own = source.client.get_run(str(version.run_id)).info.artifact_uri.rstrip("/")
    files = str(version.source or "").rstrip("/")
    if files.startswith("runs:/"):
        inside = files.removeprefix("runs:/").partition("/")[2]
    else:
        root, path = (unquote(urlsplit(text).path).rstrip("/") for text in (own, files))
        inside = path.removeprefix(root).strip("/") if path.startswith(root) else path.rpartition("/artifacts/")[2]
    there: str = client.get_run(run_id).info.artifact_uri
    return f"{there.rstrip('/')}/{inside}".rstrip("/")


def _import_aliases(
    client: MlflowClient, model: RegisteredModel, numbers: dict[str, str], tally: Tally, say: Callable[[str], None]
) -> None:
    from mlflow.exceptions import MlflowException

    for alias, version in model.aliases.items():
        number = numbers.get(str(version))
        if number is None:
            continue
        try:
            there = str(client.get_model_version_by_alias(model.name, alias).version)
        except MlflowException as error:
            if not is_missing(error) and "alias" not in str(error):
                raise
            client.set_registered_model_alias(model.name, alias, number)
            tally.aliases += 1
            continue
        if there != number:
            say(f"alias {alias} of {model.name} stays at version {there}: the source has it at {number}")
