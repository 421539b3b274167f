"""services/mlflow: what is kept of people: it ends with a change, and where nobody would tell of one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import psycopg2
import pytest
from mlflow.exceptions import MlflowException
from replica_server.people import cache
from replica_server.people.cache import PeopleCache
from replica_server.people.directory import UnavailableError
from replica_server.people.roles import Role


class Connection:
    """Stands in the place of the connection that PostgreSQL tells by."""

    def __init__(self) -> None:
        self.notifies: list[str] = []
        self.ended = False

    def poll(self) -> None:
        """Reads what has arrived."""
        if self.ended:
            raise psycopg2.OperationalError

    def close(self) -> None:
        """Closes it."""


class Directory:
    """Stands in the database's place: alice is a member, with a token; it counts what it is asked."""

    def __init__(self) -> None:
        self.role: str | None = "member"
        self.told_by: Connection | None = Connection()
        self.asked: list[str] = []
        self.meanwhile: Callable[[], None] = lambda: None
        self.left, self.mark = 3600.0, False

    async def find(self, statement: str, *_values: object) -> list[tuple[Any, ...]]:
        """Answers one statement."""
        self.asked.append(statement)
        if statement == cache.USED:
            return []
        role = self.role
        self.meanwhile()
        if role is None:
            return []
        if statement == cache.GRANTS:
            return [("experiment", "7", role), ("model", "shop", "release")]
        return [(role,)] if statement == cache.ROLE_OF else [("alice", role, "ci", self.left, self.mark)]

    async def listen(self) -> Any:
        """Returns the connection that tells, unless the database is away."""
        if self.told_by is None:
            raise UnavailableError(OSError("away"))
        return self.told_by


class Clock:
    """A clock that the test moves."""

    now = 100.0

    def __call__(self) -> float:
        """Returns the time."""
        return self.now


def play(scene: Callable[[PeopleCache, Directory, Clock], Awaitable[None]], *, listens: bool = True) -> None:
    """Plays a scene with a server that listens already, or never does."""

    async def whole() -> None:
        directory, clock = Directory(), Clock()
        if not listens:
            directory.told_by = None
        people = PeopleCache(directory, clock)
        assert await people.role("alice") == "member"
        # The connection is opened beside the first request.
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        directory.asked.clear()
        await scene(people, directory, clock)

    asyncio.run(whole())


def test_database_is_asked_once() -> None:
    async def scene(people: PeopleCache, directory: Directory, _clock: Clock) -> None:
        assert [await people.role("alice") for _ in range(3)] == ["member"] * 3
        assert directory.asked == [cache.ROLE_OF]
        tokens = [await people.token(b"digest") for _ in range(3)]
        assert [token.ends for token in tokens if token] == [3700.0] * 3
        assert directory.asked == [cache.ROLE_OF, cache.WHOSE]

    play(scene)


def test_change_holds_with_the_next_request() -> None:
    """A removal that PostgreSQL has told of, and one that this server has made itself."""

    async def scene(people: PeopleCache, directory: Directory, _clock: Clock) -> None:
        told_by = directory.told_by
        assert told_by

        def tell() -> None:
            told_by.notifies.append("people")

        for change in (tell, people.forget):
            directory.role = "member"
            assert await people.role("alice") == "member"
            assert await people.token(b"digest") is not None
            directory.role = None
            change()
            assert await people.role("alice") is None
            assert await people.token(b"digest") is None

    play(scene)


def test_grants_end_with_the_next_request() -> None:
    async def scene(people: PeopleCache, directory: Directory, _clock: Clock) -> None:
        expected = {("experiment", "7"): Role.MEMBER, ("model", "shop"): Role.RELEASE}
        assert [await people.grants("alice") for _ in range(3)] == [expected] * 3
        assert directory.asked == [cache.GRANTS]
        directory.role = None
        assert directory.told_by
        directory.told_by.notifies.append("people")
        assert await people.grants("alice") == {}

    play(scene)


def test_answer_from_before_a_change_is_not_kept() -> None:
    """The change comes while the database answers: the next request asks again."""

    async def scene(people: PeopleCache, directory: Directory, _clock: Clock) -> None:
        def removed() -> None:
            assert directory.told_by
            directory.role = None
            directory.told_by.notifies.append("people")

        directory.meanwhile = removed
        assert await people.role("alice") == "member"
        assert await people.role("alice") is None

    play(scene)


def test_nothing_is_kept_while_nobody_tells() -> None:
    async def scene(people: PeopleCache, directory: Directory, _clock: Clock) -> None:
        assert await people.role("alice") == "member"
        directory.role = None
        assert await people.role("alice") is None

    play(scene, listens=False)


def test_lost_connection_ends_all_that_is_kept() -> None:
    """The database is asked again at once; and once another connection listens, nothing from before comes back."""

    async def scene(people: PeopleCache, directory: Directory, clock: Clock) -> None:
        assert await people.role("alice") == "member"
        assert directory.told_by
        directory.told_by.ended = True
        directory.role, directory.told_by = None, Connection()
        assert await people.role("alice") is None
        clock.now += cache.AGAIN
        assert await people.role("alice") is None
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        directory.role = "viewer"
        assert [await people.role("alice") for _ in range(2)] == ["viewer"] * 2
        assert len(directory.asked) == 4

    play(scene)


def test_answer_is_kept_for_seconds_only() -> None:
    async def scene(people: PeopleCache, directory: Directory, clock: Clock) -> None:
        assert await people.role("alice") == "member"
        clock.now += cache.KEPT
        assert await people.role("alice") == "member"
        assert len(directory.asked) == 2

    play(scene)


def test_unknown_is_not_kept() -> None:
    """A person who is given a role gets in at once, and strangers' tokens fill no memory."""

    async def scene(people: PeopleCache, directory: Directory, _clock: Clock) -> None:
        directory.role = None
        assert [await people.token(bytes([number])) for number in range(9)] == [None] * 9
        directory.role = "viewer"
        assert await people.token(b"\0") is not None

    play(scene)


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "MOST", 3)

    async def scene(people: PeopleCache, _directory: Directory, _clock: Clock) -> None:
        for number in range(10):
            assert await people.role(str(number)) == "member"
            assert len(people._answers) <= 3

    play(scene)


def test_use_of_a_token_is_noted_unless_expired() -> None:
    async def scene(people: PeopleCache, directory: Directory, _clock: Clock) -> None:
        directory.mark = True
        await people.token(b"good")
        directory.left = -1.0
        await people.token(b"expired")
        assert directory.asked == [cache.WHOSE, cache.USED, cache.WHOSE]

    play(scene)


@pytest.mark.parametrize("there", [True, False])
def test_role_of_the_groups_is_noted_once(there: bool) -> None:
    """Until it changes; and of somebody who is not from there, never."""

    async def scene(people: PeopleCache, directory: Directory, _clock: Clock) -> None:
        noted: list[tuple[object, ...]] = []
        find = directory.find

        async def table(statement: str, *values: object) -> list[tuple[Any, ...]]:
            if statement == cache.SSO_ROLE_OF:
                return [(noted[-1][-1],)] if noted and there else []
            if statement == cache.NOTE:
                noted.append(values)
                return [("alice",)] if there else []
            return await find(statement, *values)

        directory.find = table  # type: ignore[method-assign]
        assert [await people.note("alice", "viewer") for _ in range(3)] == [there] * 3
        assert await people.note("alice", "member") == there
        assert noted == [
            ("alice", "alice", role) for role in (["viewer", "member"] if there else ["viewer"] * 3 + ["member"])
        ]

    play(scene)


def test_database_away_is_told() -> None:
    async def scene(people: PeopleCache, directory: Directory, _clock: Clock) -> None:
        async def away(*_: object) -> Any:
            raise UnavailableError(OSError("away"))

        assert directory.told_by
        directory.told_by.ended = True
        directory.find = away  # type: ignore[assignment, method-assign]
        with pytest.raises(MlflowException, match="Nobody is let in"):
            await people.role("alice")

    play(scene)
