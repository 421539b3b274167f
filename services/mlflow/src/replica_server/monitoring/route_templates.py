"""The template of a path: the route with its placeholders, so that a metric has as many series as there are routes."""

import re
from collections.abc import Iterable

OTHER = "other"
# As Flask writes them, <path:name>, and as FastAPI does, {name:path}.
PLACEHOLDER = re.compile(r"<(?:(?P<flask>[^:>]+):)?(?P<a>[^>]+)>|\{(?P<b>[^}:]+)(?::(?P<starlette>[^}]+))?\}")


class RouteTemplates:
    """The templates of an application's routes.

    Args:
        paths: The routes' paths, with placeholders as Flask and FastAPI write them.
    """

    def __init__(self, paths: Iterable[str]) -> None:
        known = set(paths)
        open_ended = {path for path in known if PLACEHOLDER.search(path)}
        self._fixed = frozenset(known - open_ended)
        # The one with more text of its own first: /models/search is no <name> of /models/<name>.
        self._open = sorted(open_ended, key=lambda path: (-len(PLACEHOLDER.sub("", path)), path))
        self._shown = [PLACEHOLDER.sub(lambda found: f"{{{found['a'] or found['b']}}}", path) for path in self._open]
        self._expression = re.compile("|".join(f"({_expression(path)})" for path in self._open) or "(?!)", re.DOTALL)

    def of(self, path: str) -> str:
        """Returns the template of a request's path; `other` when it is no route's."""
        if path in self._fixed:
            return path
        found = self._expression.fullmatch(path)
        return self._shown[found.lastindex - 1] if found and found.lastindex else OTHER


def _expression(path: str) -> str:
    """Returns the expression that matches what a route's path matches."""
    parts, end = [], 0
    for found in PLACEHOLDER.finditer(path):
        kind = found["flask"] or found["starlette"]
        parts += [re.escape(path[end : found.start()]), ".+" if kind == "path" else "[^/]+"]
        end = found.end()
    return "".join([*parts, re.escape(path[end:])])
