"""Moves the alias ``champion``: a promotion, or the return to the champion before.

The last request moves the alias. The record of a promotion is written before it: tags on the version say that it was
approved, and the trail (tags of the registered model) names the champions before and after. So a registry that fails
half-way leaves the alias where it was, and an alias that has moved always has its record.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from trainer.registry.registry import ALIAS, Registry
from trainer.tracking.errors import tracking_error
from trainer.tracking.settings import limits
from trainer.util.errors import RefusedError, TrackingError
from trainer.util.user import user_name

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

#: Tags of the registered model, one for each move of the alias, in the order of time.
TRAIL = "trainer.champion."


@dataclass(frozen=True)
class Move:
    """One entry of the trail: the alias moved from one version to another; ``before`` is None for the first."""

    before: str | None
    after: str
    kind: str
    by: str
    policy: str | None = None


class ChampionAlias:
    """The alias of one registered model's champion. Methods raise MLflow's errors if the registry does not answer."""

    def __init__(self, registry: Registry) -> None:
        self._registry, self._name = registry, registry.name
        self._client, self._call = registry.client, registry.call

    def promote(
        self, version: ModelVersion, before: ModelVersion | None, *, policy: str, metrics: Mapping[str, str]
    ) -> None:
        """Record that a version was approved, and make it champion.

        Args:
            version: The version.
            before: The champion that it was compared with.
            policy: The policy's digest.
            metrics: Further tags of the version: what was compared.

        Raises:
            TrackingError: The champion is another one by now, or the registry fails; see ``_move``.
        """
        number, previous = str(version.version), str(before.version) if before is not None else None
        tags = {
            "trainer.approved_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "trainer.approved_by": user_name(),
            "trainer.approved_policy": policy,
            "trainer.previous_champion": previous or "none",
            **metrics,
        }
        for key, value in tags.items():
            self._call(self._client.set_model_version_tag, self._name, number, key, value)
        self._move(Move(previous, number, "promotion", tags["trainer.approved_by"], policy))

    def rollback_target(self) -> tuple[ModelVersion, ModelVersion]:
        """Return the champion, and the version that was champion before it was promoted.

        Raises:
            RefusedError: There is none, or it is gone.
        """
        current = self._registry.aliased()
        if current is None:
            raise RefusedError(f"{self._name} has no champion; there is nothing to roll back")
        number = str(current.version)
        moves = [move for move in self.trail() if move.kind == "promotion" and move.after == number]
        if not moves:
            raise RefusedError(
                f"version {number} of {self._name} was not made champion by 'trainer promote': which was"
                " champion before it is not known; 'trainer promote --version N' makes another one champion"
            )
        previous = moves[-1].before
        if previous is None:
            raise RefusedError(f"version {number} is the first champion of {self._name}; there is none to return to")
        found = self._registry.version_or_none(previous)
        if found is None:
            raise RefusedError(
                f"version {previous}, the champion before {number}, has been deleted;"
                " 'trainer promote --version N' makes another one champion"
            )
        return current, found

    def roll_back(self, current: ModelVersion, previous: ModelVersion) -> None:
        """Make a version champion again.

        Raises:
            TrackingError: The champion is another one by now, or the registry fails; see ``_move``.
        """
        self._move(Move(str(current.version), str(previous.version), "rollback", user_name()))

    def trail(self) -> Sequence[Move]:
        """Return the alias's moves in the order of time; the last one may not have been carried out."""
        tags = self._call(self._client.get_registered_model, self._name).tags
        moves = []
        for key in sorted(key for key in tags if key.startswith(TRAIL)):
            # Anyone may write tags.
            with suppress(ValueError, TypeError):
                moves.append(Move(**json.loads(tags[key])))
        return moves

    def _move(self, move: Move) -> None:
        """Write an entry of the trail, and move the alias by the request after it, the last one.

        Where that request fails, the alias is looked up, because it may have moved all the same. If it has not, the
        entry is removed.

        Raises:
            TrackingError: The alias was not moved, or the registry no longer answers: then it may have moved.
        """
        from mlflow.exceptions import MlflowException

        key = f"{TRAIL}{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}"
        content = {name: value for name, value in vars(move).items() if value is not None or name == "before"}
        self._call(self._client.set_registered_model_tag, self._name, key, json.dumps(content))
        now = self._registry.aliased()
        found = str(now.version) if now is not None else None
        if found != move.before:
            self._take_back(key)
            raise TrackingError(
                f"{ALIAS} was moved meanwhile, from {_shown(move.before)} to {_shown(found)}; it stays there:"
                " try again to compare with that one"
            )
        try:
            self._call(self._client.set_registered_model_alias, self._name, ALIAS, move.after)
        except MlflowException as error:
            try:
                with limits(retries=0, timeout=5):
                    now = self._registry.aliased()
            except MlflowException:
                raise TrackingError(
                    f"{tracking_error(error)}; whether {ALIAS} has moved from {_shown(move.before)} to"
                    f" version {move.after} cannot be asked: look before trying again"
                ) from error
            if now is not None and str(now.version) == move.after:
                return
            self._take_back(key)
            raise TrackingError(f"{tracking_error(error)}; {ALIAS} stays at {_shown(move.before)}") from error

    def _take_back(self, key: str) -> None:
        from mlflow.exceptions import MlflowException

        with suppress(MlflowException), limits(retries=0, timeout=5):
            self._client.delete_registered_model_tag(self._name, key)


def _shown(version: str | None) -> str:
    return "none" if version is None else f"version {version}"
