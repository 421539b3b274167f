"""MLflow's words for this stack's roles and grants, as its API for permissions writes them.

READ is what everyone with a role has; EDIT is the grant `member`, and MANAGE of a registered model the grant `release`.
A role is numbered as in roles.py, and a person's id is the name. What a person has by grants, MLflow shows as a role
that nobody else has.
"""

from collections.abc import Iterable
from typing import Any

from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE, RESOURCE_DOES_NOT_EXIST

from replica_server.people.roles import EXPERIMENT, MODEL, Role

READ, EDIT, MANAGE = "READ", "EDIT", "MANAGE"
#: MLflow's words for what there are grants for.
KINDS = {"experiment": EXPERIMENT, "registered_model": MODEL}
WORDS = {kind: word for word, kind in KINDS.items()}
#: What can be granted, and what each role is called by MLflow: for an experiment, `release` may do what a member may.
GRANTS = {EXPERIMENT: {EDIT: Role.MEMBER}, MODEL: {EDIT: Role.MEMBER, MANAGE: Role.RELEASE}}
LEVELS = {
    EXPERIMENT: {Role.VIEWER: READ, Role.MEMBER: EDIT, Role.RELEASE: EDIT, Role.ADMIN: MANAGE},
    MODEL: {Role.VIEWER: READ, Role.MEMBER: EDIT, Role.RELEASE: MANAGE, Role.ADMIN: MANAGE},
}
#: MLflow's one workspace, where there are none.
WORKSPACE = "default"
# The number of the role that stands for a person's grants, and its name: the UI knows it by the form.
DIRECT, DIRECT_NAME = 0, "__user_0__"
DESCRIPTIONS = {
    Role.VIEWER: "Reads everything",
    Role.MEMBER: "Also logs, and deletes what is their own; moves no guarded alias",
    Role.RELEASE: "Also moves guarded aliases, and deletes models and versions of others",
    Role.ADMIN: "Also deletes what is others', and gives roles, grants and tokens",
}


def wrong(message: str) -> MlflowException:
    """Returns the refusal of a request that cannot be carried out: status 400."""
    return MlflowException(message, error_code=INVALID_PARAMETER_VALUE)


def missing(message: str) -> MlflowException:
    """Returns the answer to a request for what is not there: status 404."""
    return MlflowException(message, error_code=RESOURCE_DOES_NOT_EXIST)


def user(name: str, role: Role) -> dict[str, Any]:
    """Returns a person."""
    return {"id": name, "username": name, "is_admin": role == Role.ADMIN}


def shown(role: Role) -> dict[str, Any]:
    """Returns a role, with what it may do to each experiment and registered model."""
    rights = [(kind, "*", role) for kind in WORDS]
    return _shown(int(role), role.word, DESCRIPTIONS[role], rights)


def shown_grants(grants: Iterable[tuple[str, str, Role]]) -> list[dict[str, Any]]:
    """Returns a person's grants (kind, key, role) as the role that MLflow shows them by; none where there are none."""
    rights = list(grants)
    return [_shown(DIRECT, DIRECT_NAME, "Grants", rights)] if rights else []


def rows(role: dict[str, Any]) -> list[dict[str, Any]]:
    """Returns what a role may do as MLflow lists a person's permissions: a row each."""
    kept = ("resource_type", "resource_pattern", "permission")
    return [
        {
            "role_id": role["id"],
            "role_name": role["name"],
            "workspace": role["workspace"],
            **{key: right[key] for key in kept},
        }
        for right in role["permissions"]
    ]


def _shown(number: int, name: str, description: str, rights: list[tuple[str, str, Role]]) -> dict[str, Any]:
    permissions = [
        {
            # Nothing asks by it; the UI wants one for each row.
            "id": number * 1000 + place,
            "role_id": number,
            "resource_type": WORDS[kind],
            "resource_pattern": key,
            "permission": LEVELS[kind][role],
        }
        for place, (kind, key, role) in enumerate(rights)
    ]
    return {
        "id": number,
        "name": name,
        "workspace": WORKSPACE,
        "description": description,
        "permissions": permissions,
    }


def assignment(name: str, role: Role) -> dict[str, Any]:
    """Returns that a person has a role; there is one for each person."""
    return {"id": name, "user_id": name, "role_id": int(role)}
