"""Says what a registered model's name, version or alias may be meant to be, where the registry has none of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainer.tracking.model_uri import ModelUri
from trainer.util.text import did_you_mean, listed

if TYPE_CHECKING:
    from mlflow import MlflowClient

#: So many registered models are looked at: a server's page.
_LOOKED_AT = 1_000
_SHOWN = 8


def meant_model(client: MlflowClient, name: str) -> str:
    """Return the registered model that ``name`` is most like, or which there are, as the rest of a line."""
    known = sorted(str(model.name) for model in client.search_registered_models(max_results=_LOOKED_AT))
    if not known:
        return "'trainer sweep' registers its best"
    return did_you_mean(name, known, f"the registered models are {listed(known)}")


def meant_version(client: MlflowClient, uri: ModelUri) -> str:
    """Return what there is in place of the version that a model's URI names, as the rest of a line."""
    name = str(uri.name)
    if not client.search_registered_models(f"name = '{name}'", max_results=1):
        return meant_model(client, name)
    if uri.alias is not None:
        aliases = sorted(client.get_registered_model(name).aliases)
        return did_you_mean(uri.alias, aliases, f"its aliases are {listed(aliases)}") if aliases else "it has no alias"
    found = client.search_model_versions(f"name = '{name}'", max_results=_SHOWN, order_by=["version_number DESC"])
    return f"its latest versions are {listed(one.version for one in found)}" if found else "it has no versions"
