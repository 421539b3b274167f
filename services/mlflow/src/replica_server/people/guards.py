"""Rules that need more than a role: whose run it is, which alias, who the author is. Checked at MLflow's stores.

Every route of MLflow's calls the stores' methods, whatever form a request has. So no other spelling of a request gets
past a check there.

Replaces: methods of `SqlAlchemyStore` of tracking and of the registry, each by itself with a check before and a note
    after. Only with AUTH=on.
Gain: runs name their real author; members delete only what is their own; release and admin alone move guarded aliases.
Upstream: mlflow#24742 (open): protect an alias.
Test: test_guards.py; tests/integration/test_people.py.
Goes when: MLflow's own permissions know owners of runs and single aliases, at a cost that a metric can bear.
"""

import functools
import sys
from collections.abc import Callable
from typing import Any

from mlflow.entities import RunTag
from mlflow.entities.model_registry import RegisteredModel
from mlflow.exceptions import MlflowException
from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore as RegistryStore
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore as TrackingStore
from mlflow.utils.mlflow_tags import MLFLOW_RUN_NAME, MLFLOW_USER

from replica_server.patches.replace import replace
from replica_server.people.identity import forbidden
from replica_server.people.roles import MODEL, Asking, Role
from replica_server.people.store_checks import StoreChecks, Values, around
from replica_server.text import printable

#: Where a client's own claim of who it is goes.
CLAIMED = "replica.claimed_user"

OWN = (
    "INSERT INTO people.owners (kind, key, owner) VALUES (%s, %s, %s) ON CONFLICT (kind, key) DO UPDATE SET owner = %s"
)
OWNER = "SELECT owner FROM people.owners WHERE kind = %s AND key = %s"
AUTHOR = "SELECT user_id FROM runs WHERE run_uuid = %s"
OTHERS_RUN = "SELECT 1 FROM runs WHERE experiment_id = %s AND user_id IS DISTINCT FROM %s LIMIT 1"
NAME = "SELECT name FROM runs WHERE run_uuid = %s"
OTHERS_VERSION = """
SELECT version FROM model_versions WHERE name = %s AND current_stage <> 'Deleted_Internal' AND NOT EXISTS (
    SELECT 1 FROM people.owners
    WHERE kind = 'version' AND key = model_versions.name || '/' || model_versions.version AND owner = %s
) LIMIT 1
"""
ALIASES = "SELECT alias FROM registered_model_aliases WHERE name = %s AND version = coalesce(%s, version)"
# Of what had the new name once, nothing is left but its owners.
FORGET = "DELETE FROM people.owners WHERE kind IN ('model', 'version') AND (key = %s OR starts_with(key, %s || '/'))"
RENAME = """
UPDATE people.owners SET key = %s || substr(key, %s)
WHERE kind IN ('model', 'version') AND (key = %s OR starts_with(key, %s || '/'))
"""


class Guards(StoreChecks):
    """The checks and notes."""

    def apply(self) -> None:
        """Puts them around the methods of MLflow's stores."""
        for store, name, before, after in (
            (TrackingStore, "create_run", self.name_author, self.note_run),
            (TrackingStore, "set_tag", self.keep_author, None),
            (TrackingStore, "log_batch", self.keep_authors, None),
            (TrackingStore, "delete_tag", self.keep_author_tag, None),
            (TrackingStore, "update_run_info", self.own_name, None),
            (TrackingStore, "delete_run", self.own_run, None),
            (TrackingStore, "restore_run", self.own_run, None),
            (TrackingStore, "create_experiment", self.name, self.own_new("experiment", str)),
            (TrackingStore, "rename_experiment", self.own_experiment, None),
            (TrackingStore, "delete_experiment", self.own_experiment_with_runs, None),
            (TrackingStore, "restore_experiment", self.own_experiment_with_runs, None),
            (TrackingStore, "create_logged_model", self.name, self.own_new("logged-model", lambda it: it.model_id)),
            (TrackingStore, "delete_logged_model", self.own_logged_model, None),
            (RegistryStore, "create_registered_model", self.name, self.own_new("model", lambda it: it.name)),
            (RegistryStore, "rename_registered_model", self.own_model, self.own_renamed),
            (RegistryStore, "delete_registered_model", self.own_model_with_versions, None),
            (RegistryStore, "create_model_version", self.name, self.own_new("version", self.key)),
            (RegistryStore, "delete_model_version", self.own_version, None),
            (RegistryStore, "transition_model_version_stage", self.name, None),
            (RegistryStore, "set_registered_model_alias", self.free_alias, None),
            (RegistryStore, "delete_registered_model_alias", self.free_alias, None),
        ):
            replace(store, name, functools.partial(around, before=before, after=after))

    # Authors ----------------------------------------------------------------------------------------------------------

    def name_author(self, request: Asking, values: Values) -> None:
        """Makes the login the run's author, and keeps the client's claim in a tag."""
        name, tags = request.person.name, list(values["tags"] or [])
        claims = [tag.value for tag in tags if tag.key == MLFLOW_USER] or [values["user_id"]]
        values["user_id"] = name
        values["tags"] = [tag for tag in tags if tag.key not in (MLFLOW_USER, CLAIMED)] + [RunTag(MLFLOW_USER, name)]
        if claims[-1] and claims[-1] != name:
            values["tags"].append(RunTag(CLAIMED, claims[-1]))

    def note_run(self, request: Asking, _values: Values, run: Any) -> None:
        """Notes the new run for the record."""
        request.objects.append(f"run {run.info.run_id}")

    def keep_author(self, _request: Asking, values: Values) -> None:
        """Turns a tag that names another author into a claim."""
        if values["tag"].key == MLFLOW_USER:
            values["tag"] = RunTag(CLAIMED, values["tag"].value)

    def keep_authors(self, request: Asking, values: Values) -> None:
        """Turns those tags of a batch that name another author into claims."""
        for tag in values["tags"] or []:
            # Before anything of the batch is stored.
            if tag.key == MLFLOW_RUN_NAME:
                self.own_name(request, {"run_id": values["run_id"], "run_name": tag.value})
        values["tags"] = [RunTag(CLAIMED, tag.value) if tag.key == MLFLOW_USER else tag for tag in values["tags"] or []]

    def keep_author_tag(self, request: Asking, values: Values) -> None:
        """Refuses to delete the tag with a run's author, and the tag with the name of another's run."""
        if values["key"] == MLFLOW_USER:
            raise forbidden(f"The tag {MLFLOW_USER} is the run's author, which stays")
        if values["key"] == MLFLOW_RUN_NAME:
            request.renames = True
            self.own_run(request, values)

    # Owners -----------------------------------------------------------------------------------------------------------

    def own_run(self, request: Asking, values: Values) -> None:
        """Refuses what would delete or restore another's run."""
        run = values["run_id"]
        request.objects.append(f"run {run}")
        if request.person.role < Role.ADMIN:
            rows = self.directory.ask(AUTHOR, run)
            if rows and rows[0][0] != request.person.name:
                raise forbidden(f"Run {run} is {rows[0][0] or 'nobody'}'s: its author or an administrator may do that")

    def own_name(self, request: Asking, values: Values) -> None:
        """Refuses what would rename another's run, by its name or by the tag that holds the name."""
        name = values["run_name"]
        note = f"to {name}"
        # For a batch this is called twice.
        if name and note not in request.objects and self.directory.ask(NAME, values["run_id"]) != [(name,)]:
            request.renames = True
            self.own_run(request, values)
            request.objects.append(note)

    def own_experiment(self, request: Asking, values: Values) -> None:
        """Refuses what would change another's experiment."""
        self._own(request, "experiment", str(values["experiment_id"]), Role.ADMIN)

    def own_experiment_with_runs(self, request: Asking, values: Values) -> None:
        """Refuses what would delete another's experiment, or one that holds runs of others."""
        self.own_experiment(request, values)
        name, experiment = request.person.name, str(values["experiment_id"])
        # MLflow itself refuses an id that is no number.
        if request.person.role >= Role.ADMIN or not experiment.isdecimal():
            return
        if self.directory.ask(OTHERS_RUN, int(experiment), name):
            raise forbidden(f"Experiment {experiment} holds runs of others: an administrator may do that")

    def own_logged_model(self, request: Asking, values: Values) -> None:
        """Refuses what would delete another's logged model."""
        self._own(request, "logged-model", values["model_id"], Role.ADMIN)

    def own_model(self, request: Asking, values: Values) -> None:
        """Refuses what would rename or delete another's registered model, or one with a guarded alias."""
        self._unguarded(request, values["name"], None)
        self._own(request, "model", values["name"], Role.RELEASE, values["name"])
        if "new_name" in values:
            request.objects.append(f"to {values['new_name']}")

    def own_model_with_versions(self, request: Asking, values: Values) -> None:
        """Refuses what would delete a model that is another's, has a guarded alias, or holds versions of others."""
        self.own_model(request, values)
        name = values["name"]
        if releases(request, name):
            return
        if rows := self.directory.ask(OTHERS_VERSION, name, request.person.name):
            raise forbidden(f"{name} holds versions of others ({rows[0][0]}): the roles release and admin may do that")

    def own_version(self, request: Asking, values: Values) -> None:
        """Refuses what would delete another's version, or one with a guarded alias."""
        try:
            # As MLflow reads it: "01" is version 1.
            version = int(values["version"])
        except (TypeError, ValueError):
            return  # MLflow refuses it.
        self._unguarded(request, values["name"], version)
        self._own(request, "version", f"{values['name']}/{version}", Role.RELEASE, values["name"])

    def name(self, request: Asking, values: Values) -> None:
        """Notes what is created or moved, for the record."""
        named = (str(values[key]) for key in ("name", "version", "stage") if values.get(key) is not None)
        request.objects.append(" ".join(named))

    def own_new(self, kind: str, key: Callable[[Any], str]) -> Callable[[Asking, Values, Any], None]:
        """Returns what notes the owner of something new."""

        def note(request: Asking, _values: Values, made: Any) -> None:
            request.objects[:] = [f"{kind} {key(made)}", *request.objects]
            self._note_owner(kind, key(made), request.person.name)

        return note

    def own_renamed(self, _request: Asking, values: Values, model: RegisteredModel) -> None:
        """Keeps the owners of a model and its versions under the new name."""
        before, now = values["name"], model.name
        if before == now:
            return
        try:
            self.directory.ask(FORGET, now, now)
            self.directory.ask(RENAME, now, len(before) + 1, before, before)
        except MlflowException as error:
            print(
                f"warning: {printable(now)} has no owner, so release and admin alone delete it: {error.message}",
                file=sys.stderr,
            )

    @staticmethod
    def key(version: Any) -> str:
        """Returns a version's key among the owners."""
        return f"{version.name}/{version.version}"

    def _note_owner(self, kind: str, key: str, owner: str) -> None:
        try:
            self.directory.ask(OWN, kind, key, owner, owner)
        except MlflowException as error:
            # It is made already, and a client that is told of an error would make another.
            print(
                f"warning: {kind} {printable(key)} has no owner, so only an administrator deletes it: {error.message}",
                file=sys.stderr,
            )

    def _own(self, request: Asking, kind: str, key: str, enough: Role, model: str = "") -> None:
        request.objects.append(f"{kind} {key}")
        # Only for a model are there grants of a role that needs to own nothing.
        if (request.role_on(MODEL, model) if model else request.person.role) < enough:
            rows = self.directory.ask(OWNER, kind, key)
            # Not by a name: a person may be called nobody.
            if not rows or rows[0][0] != request.person.name:
                owner = rows[0][0] if rows else "nobody"
                raise forbidden(f"The {kind} {key} is {owner}'s: its owner or the role {enough.word} may do that")

    # Aliases ----------------------------------------------------------------------------------------------------------

    def free_alias(self, request: Asking, values: Values) -> None:
        """Refuses to set, move or delete a guarded alias."""
        where = f"{values['name']}@{values['alias']}"
        request.objects.append(f"{where} -> {values['version']}" if "version" in values else where)
        if values["alias"] in self.aliases and not releases(request, values["name"]):
            raise forbidden(f"The alias {where} is guarded: the roles release and admin may move it")

    def _unguarded(self, request: Asking, model: str, version: int | None) -> None:
        if releases(request, model):
            return
        found = {alias for (alias,) in self.directory.ask(ALIASES, model, version)}
        if guarded := sorted(found & self.aliases):
            what = f"version {version} of {model}" if version else model
            raise forbidden(f"{what} has the guarded alias {guarded[0]}: the roles release and admin may do that")


def releases(request: Asking, model: str) -> bool:
    """Returns whether a person may release a registered model: everywhere, or this one by a grant."""
    return request.role_on(MODEL, model) >= Role.RELEASE
