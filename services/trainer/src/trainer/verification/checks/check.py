"""A check: what it is called, what it does, and what it needs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from trainer.verification.stack import Stack


@dataclass(frozen=True)
class Check:
    """A check: its name, what it does, and the names of the checks without whose success it has no meaning."""

    name: str
    run: Callable[[Stack], str]
    needs: tuple[str, ...]


class CheckList(list[Check]):
    """A module's checks, in the order of their definition; as a decorator, it adds the function below it."""

    def __call__(self, name: str, *needs: str) -> Callable[[Callable[[Stack], str]], Callable[[Stack], str]]:
        """Add a function as a check."""

        def add(function: Callable[[Stack], str]) -> Callable[[Stack], str]:
            self.append(Check(name, function, needs))
            return function

        return add
