"""What a request to MLflow's API for permissions says, and what of that API this stack has not."""

import json

from starlette.requests import Request

from replica_server.people import permission_words as words
from replica_server.people.identity import forbidden
from replica_server.people.permission_words import missing, wrong
from replica_server.people.roles import Role, asking
from replica_server.text import printable

# The bytes of a request's body, which names a person and an object.
LARGEST = 2**16
Asked = dict[str, str]

ACCOUNT = "Accounts and passwords are the proxy's: docker compose exec proxy user"
FOUR = "The roles are this stack's and stay as they are: a grant opens more, in one experiment or with one model"
#: What MLflow's API has and this stack has not, each with why.
NOT_HERE = {
    "users/create": f"{ACCOUNT} add",
    "users/delete": f"{ACCOUNT} remove",
    "users/update-password": f"{ACCOUNT} add, without --role",
} | {
    f"roles/{what}": FOUR
    for what in ("create", "update", "delete", "permissions/add", "permissions/update", "permissions/remove")
}


async def read(request: Request) -> Asked:
    """Returns what a request says: its query, and the texts, whole numbers and truths in its body.

    Raises:
        MlflowException: With status 400.
    """
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > LARGEST:
            raise wrong(f"The body is larger than {LARGEST:,} bytes")
    try:
        content = json.loads(body) if body else {}
    except ValueError:
        raise wrong("The body is no JSON") from None
    if not isinstance(content, dict):
        raise wrong("The body is no JSON object")
    given = {
        name: value if isinstance(value, str) else json.dumps(value)
        for name, value in content.items()
        if isinstance(value, str | int)
    }
    asked = {**request.query_params, **given}
    text = "".join(asked.values())
    if "\0" in text:
        raise wrong("A name holds no NUL character")
    if any("\ud800" <= letter <= "\udfff" for letter in text):
        raise wrong("A name holds no half of a character")
    return asked


def asker() -> tuple[str, Role]:
    """Returns who asks, by name and role."""
    request = asking.get()
    if request is None:
        raise forbidden("Nobody is known to ask for this")
    return request.person.name, request.person.role


def note(what: str) -> None:
    """Notes what is changed, for the record."""
    if request := asking.get():
        request.objects.append(what)


def role_of(asked: Asked) -> Role:
    """Returns the role that a request names by its number; raises MlflowException with status 404."""
    try:
        return Role(int(asked.get("role_id", "")))
    except ValueError:
        there = ", ".join(f"{int(role)} {role.word}" for role in Role)
        raise missing(f"There is no role with this role_id; there are {there}") from None


def object_of(asked: Asked) -> tuple[str, str]:
    """Returns the kind and key of what a request is about; raises MlflowException with status 400."""
    kind = words.KINDS.get(asked.get("resource_type", ""))
    if kind is None:
        given = printable(asked.get("resource_type", "")) or "nothing"
        raise wrong(f"There are grants for {' and '.join(words.KINDS)}, not for {given}")
    if not asked.get("resource_id"):
        raise wrong("resource_id is missing: an experiment's id, or a registered model's name")
    return kind, asked["resource_id"]
