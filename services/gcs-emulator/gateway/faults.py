"""Faults on demand: the next requests that match are answered with an error, slowed down or cut off."""

import json
import re
from dataclasses import asdict, dataclass, fields
from typing import Any

KINDS = ("status", "delay", "slow", "cut-request", "cut-response", "short")


@dataclass
class Fault:
    """One fault, for as many requests as `count` says.

    Attributes:
        kind: `status` answers with an error; `delay` waits first; `slow` limits the transfer's rate in both directions;
            `cut-request` closes the connection when `after_bytes` of the request's body have been passed on (0: before
            the storage sees the request); `cut-response` when the storage has done its work and `after_bytes` of the
            answer's body have passed (0, and for a resumable upload's piece: before the status line); `short` keeps
            `after_bytes` of a resumable upload's piece and says so, as Google may at any time.
        count: How many requests it hits.
        skip: How many matching requests pass before.
        method: A regular expression for the whole method.
        path: A regular expression for a part of the path and query.
        status: For `status`.
        retry_after: For `status`: seconds in the Retry-After header.
        seconds: For `delay`.
        bytes_per_second: For `slow`.
        after_bytes: For `cut-request`, `cut-response` and `short`.
    """

    kind: str
    count: int = 1
    skip: int = 0
    method: str = ".*"
    path: str = ""
    status: int = 503
    retry_after: int | None = None
    seconds: float = 1.0
    bytes_per_second: int = 1_000_000
    after_bytes: int = 0

    def matches(self, method: str, path: str) -> bool:
        """Tells whether it hits this request."""
        return self.count > 0 and bool(re.fullmatch(self.method, method) and re.search(self.path, path))


def parse(document: object) -> Fault:
    """Returns the fault that a JSON document describes; raises ValueError with the reason."""
    if not isinstance(document, dict) or not document.keys() <= {field.name for field in fields(Fault)}:
        raise ValueError(f"a fault has the fields {', '.join(field.name for field in fields(Fault))}")
    if document.get("kind") not in KINDS:
        raise ValueError(f"kind is one of {', '.join(KINDS)}")
    # Any other type would break each request that the fault is held against.
    kinds: dict[str, Any] = {field.name: int | float if field.type is float else field.type for field in fields(Fault)}
    if wrong := [name for name, value in document.items() if not isinstance(value, kinds[name])]:
        raise ValueError(f"{wrong[0]} cannot be {json.dumps(document[wrong[0]])}")
    fault = Fault(**document)
    try:
        for pattern in (fault.method, fault.path):
            re.compile(pattern)
    except re.error as error:
        raise ValueError(f"method and path are regular expressions: {error}") from error
    return fault


class Faults:
    """The faults that wait for their requests, in the order in which they were added."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []

    def add(self, fault: Fault) -> None:
        """Adds a fault."""
        self._faults.append(fault)

    def clear(self) -> None:
        """Removes all."""
        self._faults.clear()

    def take(self, method: str, path: str) -> Fault | None:
        """Returns the fault that hits this request, and counts it."""
        for fault in self._faults:
            if fault.matches(method, path):
                if fault.skip:
                    fault.skip -= 1
                    continue
                fault.count -= 1
                return fault
        return None

    def listed(self) -> list[dict[str, object]]:
        """Returns those that have not hit all their requests yet."""
        return [asdict(fault) for fault in self._faults if fault.count > 0]
