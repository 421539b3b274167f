"""The roles, and the person whose request is being answered."""

from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from enum import IntEnum


class Role(IntEnum):
    """What a person may do. Each role may do all that the ones before it may."""

    VIEWER = 1
    MEMBER = 2
    RELEASE = 3
    ADMIN = 4

    @property
    def word(self) -> str:
        """The role's name, as people write it."""
        return self.name.lower()


#: What a grant is for: an experiment, by its id, or a registered model, by its name.
EXPERIMENT, MODEL = "experiment", "model"
Object = tuple[str, str]
#: The roles by their names.
ROLES = {role.word: role for role in Role}


@dataclass(frozen=True)
class Person:
    """Who sends a request.

    Attributes:
        name: The login's name.
        role: What they may do.
        by: How this is known: "password", "sso", "token NAME", "console" or "service".
    """

    name: str
    role: Role
    by: str


@dataclass
class Asking:
    """A request that is being answered.

    Attributes:
        person: Who sends it.
        objects: What it changes, as the guards have seen it: for the record.
        renames: Whether it renames something, also where that is refused: for routes that do other things too.
        status: What MLflow answers, also to a client that has gone; 0 before it does.
        grants: The person's grants, as far as this request may need them.
        needs: The role that the person has by a grant alone, if at all: grants.py then looks what the request is about.
            None: their role suffices.
    """

    person: Person
    objects: list[str] = field(default_factory=list)
    renames: bool = False
    status: int = 0
    grants: Mapping[Object, Role] = field(default_factory=dict)
    needs: Role | None = None

    def role_on(self, kind: str, key: str) -> Role:
        """Returns what the person may do to an object: by their role, or by a grant that is higher."""
        return max(self.person.role, self.grants.get((kind, key), self.person.role))

    def begins(self, status: int) -> None:
        """Notes the answer's status."""
        self.status = status


#: The request that this thread, or task, is answering. None: the server works for itself.
asking: ContextVar[Asking | None] = ContextVar("asking", default=None)
