"""All results of one of the client's searches, which answer page by page."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

_PAGE = 500


def pages(search: Callable[..., Any], *args: Any, **kwargs: Any) -> Iterator[Any]:
    """Yield what a search finds, asked for page by page.

    Args:
        search: A method of MLflow's client that takes ``max_results`` and ``page_token``.
        args: What else it takes.
        kwargs: The same, by name.
    """
    token = None
    while True:
        page = search(*args, **kwargs, max_results=_PAGE, page_token=token)
        yield from page
        token = page.token
        if not token:
            return
