"""Lets a guarded alias move only to a version that satisfied the policy (REQUIRE_VERDICT=on).

`trainer promote` checks a version, and writes tags on it before it moves the alias. Here these tags are what the alias
needs, and only who may move the alias may write them: so nobody promotes by mistake what was not checked. A new version
has none, also as a copy of one that has: its model may have another policy. Whoever may move the alias can write the
tags by hand too; the record then has the alias, and the tags are on the version.

Replaces: methods of the registry's `SqlAlchemyStore`, each by itself with a check before.
Gain: a version that no policy was checked for does not become champion.
Upstream: none asked for.
Test: test_verdicts.py; tests/integration/test_people.py.
Goes when: MLflow's registry knows such a condition itself.
"""

import functools

from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore as RegistryStore

from replica_server.patches.replace import replace
from replica_server.people.guards import releases
from replica_server.people.identity import forbidden
from replica_server.people.roles import Asking
from replica_server.people.store_checks import StoreChecks, Values, around

#: The tags that `trainer promote` writes (trainer/registry/champion.py), and the one that says which policy it was.
PREFIX = "trainer.approved_"
POLICY = f"{PREFIX}policy"
VERDICT = "SELECT 1 FROM model_version_tags WHERE name = %s AND version = %s AND key = %s AND value <> ''"


class Verdicts(StoreChecks):
    """The checks."""

    def apply(self) -> None:
        """Puts them around the methods of MLflow's store."""
        for name, before in (
            ("set_registered_model_alias", self.satisfied),
            ("set_model_version_tag", self.own_tag),
            ("delete_model_version_tag", self.own_key),
            ("create_model_version", self.own_tags),
        ):
            replace(RegistryStore, name, functools.partial(around, before=before, after=None))

    def satisfied(self, _request: Asking, values: Values) -> None:
        """Refuses to move a guarded alias to a version without a verdict, to everyone."""
        name, alias = values["name"], values["alias"]
        try:
            # As MLflow reads it: "01" is version 1.
            version = int(values["version"])
        except (TypeError, ValueError):
            return  # MLflow refuses it.
        if alias in self.aliases and not self.directory.ask(VERDICT, name, version, POLICY):
            raise forbidden(
                f"{name}@{alias} moves only to a version that satisfied the policy, and none is recorded for version"
                f" {version}: trainer promote checks and records it"
            )

    def own_tag(self, request: Asking, values: Values) -> None:
        """Refuses to write a verdict to those who may not move the alias."""
        self._own(request, values["name"], values["tag"].key)

    def own_key(self, request: Asking, values: Values) -> None:
        """Refuses them to take one away."""
        self._own(request, values["name"], values["key"])

    def own_tags(self, request: Asking, values: Values) -> None:
        """Refuses them to make a version with one; that of others has none either, as a copy is not checked yet."""
        for tag in values["tags"] or []:
            self._own(request, values["name"], tag.key)
        values["tags"] = [tag for tag in values["tags"] or [] if not tag.key.startswith(PREFIX)]

    @staticmethod
    def _own(request: Asking, model: str, key: str) -> None:
        if key.startswith(PREFIX) and not releases(request, model):
            raise forbidden(f"The tag {key} is a policy's verdict: the roles release and admin may write it")
