"""A check before a method of MLflow's stores, and a note after it: what guards and verdicts are made of."""

import functools
import inspect
from collections.abc import Callable
from typing import Any

from flask import has_request_context

from replica_server.people.directory import Directory
from replica_server.people.identity import forbidden
from replica_server.people.roles import Asking, asking

#: A method's arguments by their names.
Values = dict[str, Any]


class StoreChecks:
    """Checks that ask the database.

    Args:
        directory: The database.
        aliases: The guarded aliases.
    """

    def __init__(self, directory: Directory, aliases: frozenset[str]) -> None:
        self.directory = directory
        self.aliases = aliases


def around(
    theirs: Callable[..., Any],
    before: Callable[[Asking, Values], None],
    after: Callable[[Asking, Values, Any], None] | None,
) -> Callable[..., Any]:
    """Returns a method of a store with a check before it, which may change its arguments, and a note after it."""
    signature = inspect.signature(theirs)

    @functools.wraps(theirs)
    def guarded(*arguments: Any, **options: Any) -> Any:
        request = asking.get()
        if request is None:
            if has_request_context():
                raise forbidden("Nobody is known to ask for this")
            # The server itself, at its start.
            return theirs(*arguments, **options)
        bound = signature.bind(*arguments, **options)
        bound.apply_defaults()
        before(request, bound.arguments)
        made = theirs(*bound.args, **bound.kwargs)
        if after is not None:
            after(request, bound.arguments, made)
        return made

    return guarded
