"""A run that died with its machine becomes FAILED, with the reason; a living one, and one of another program, stays."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from trainer.tracking import active_run
from trainer.tracking.connection import connect
from trainer.tracking.stale_runs import Limits, StaleRun, find_stale, look
from trainer.tracking.tags import FAILURE_TAG, HEARTBEAT_TAG
from trainer.util.heartbeat import Heartbeat

from ..conftest import Answer

NOW = 1_800_000_000.0
Trainer = Callable[..., Answer]


@pytest.fixture
def client(workdir: Path) -> MlflowClient:
    uri = f"sqlite:///{workdir}/mlflow.db"
    return MlflowClient(uri, uri)


def begin(client: MlflowClient, name: str, heartbeat: str | None, age: float = 0.0) -> str:
    """Return the id of a run that is under way, whose last sign of life and begin are so many seconds ago."""
    tags = {} if heartbeat is None else {HEARTBEAT_TAG: heartbeat}
    started = int((NOW - age) * 1000)
    run_id: str = client.create_run("0", start_time=started, tags=tags, run_name=name).info.run_id
    return run_id


def ago(seconds: float) -> str:
    return str(int(NOW - seconds))


def names(found: list[StaleRun]) -> set[str]:
    return {stale.name for stale in found}


def test_silence_is_stale_and_a_heartbeat_is_not(client: MlflowClient) -> None:
    begin(client, "dead", ago(700))
    begin(client, "alive", ago(30))
    begin(client, "ahead", ago(-700))
    ended = begin(client, "ended", ago(700))
    client.set_terminated(ended, "FINISHED")
    assert names(find_stale(client, Limits(), NOW)) == {"dead"}


@pytest.mark.parametrize("tag", [None, "", "soon", "-5", "1e9", "9" * 40, "٣"])
def test_no_heartbeat_is_left_alone_without_an_age(client: MlflowClient, tag: str | None) -> None:
    begin(client, "other", tag, age=50 * 3600)
    begin(client, "young", tag, age=3600)
    assert find_stale(client, Limits(), NOW) == []
    found = find_stale(client, Limits(max_age=48 * 3600), NOW)
    assert [(one.name, one.reason) for one in found] == [("other", "running for 50 h, without a heartbeat")]


def test_stale_run_becomes_failed_with_the_reason(client: MlflowClient) -> None:
    """It ended when it was last known to live."""
    dead = begin(client, "dead", ago(3600))
    pauses: list[float] = []
    found = look(client, Limits(), confirm=90, dry_run=False, clock=lambda: NOW, pause=pauses.append)
    assert (names(found), pauses) == ({"dead"}, [90])
    run = client.get_run(dead)
    assert (run.info.status, run.info.end_time) == ("FAILED", int(ago(3600)) * 1000)
    since = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(NOW - 3600))
    assert run.data.tags[FAILURE_TAG] == f"marked as failed: no sign of life for 60 min, since {since}"
    assert look(client, Limits(), confirm=90, dry_run=False, clock=lambda: NOW, pause=pauses.append) == []
    assert pauses == [90]


@pytest.mark.parametrize("what", ["beats", "ends"])
def test_sign_of_life_between_two_looks_saves(client: MlflowClient, what: str) -> None:
    """A machine whose clock is an hour behind gives a sign of life that looks old, and another one meanwhile."""
    behind = begin(client, "behind", ago(3600))

    def meanwhile(_seconds: float) -> None:
        if what == "beats":
            client.set_tag(behind, HEARTBEAT_TAG, ago(3540))
        else:
            client.set_terminated(behind, "FINISHED")

    assert look(client, Limits(), confirm=90, dry_run=False, clock=lambda: NOW, pause=meanwhile) == []
    run = client.get_run(behind)
    assert run.info.status == ("RUNNING" if what == "beats" else "FINISHED")
    assert FAILURE_TAG not in run.data.tags


def test_dry_run_marks_nothing(client: MlflowClient, trainer: Trainer) -> None:
    dead = client.create_run("0", tags={HEARTBEAT_TAG: str(int(time.time()) - 3600)}, run_name="dead").info.run_id
    answer = trainer("stale", "--dry-run")
    assert answer.code == 0, answer.err
    assert answer.out.startswith(f"{dead}  dead: no sign of life for 60 min, since ")
    assert answer.out.endswith(": would be marked as FAILED\n")
    assert client.get_run(dead).info.status == "RUNNING"


def test_command_marks_and_says_so(client: MlflowClient, trainer: Trainer) -> None:
    dead = client.create_run("0", tags={HEARTBEAT_TAG: str(int(time.time()) - 3600)}, run_name="dead").info.run_id
    other = client.create_run("0", run_name="other").info.run_id
    answer = trainer("stale", "--confirm", "0", "--json")
    assert answer.code == 0, answer.err
    assert [one["run_id"] for one in json.loads(answer.out)["stale"]] == [dead]
    assert [client.get_run(run).info.status for run in (dead, other)] == ["FAILED", "RUNNING"]
    assert trainer("stale", "--confirm", "0").out == "no stale runs\n"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [(("--every", "5", "--json"), "--every goes with neither"), (("--silent", "1"), "--silent"), (("x",), "x")],
)
def test_bad_options_are_one_line(trainer: Trainer, arguments: tuple[str, ...], says: str) -> None:
    answer = trainer("stale", *arguments)
    assert answer.code == 2
    assert says in answer.err
    assert "Traceback" not in answer.err


def test_run_gives_signs_of_life_until_it_ends(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One with its creation, which costs no request, and then one at each interval."""
    monkeypatch.setattr("trainer.tracking.client.BEAT", 0.05)
    signs = iter(range(100, 10_000))
    monkeypatch.setattr("trainer.tracking.client.sign_of_life", lambda: "1")
    monkeypatch.setattr(active_run, "sign_of_life", lambda: str(next(signs)))
    destination = connect(f"sqlite:///{workdir}/mlflow.db", "beats")
    tracking = destination.open()
    with tracking.run("r", {}) as run:
        assert tracking.client.get_run(run.run_id).data.tags[HEARTBEAT_TAG] == "1"
        deadline = time.monotonic() + 30
        while int(tracking.client.get_run(run.run_id).data.tags[HEARTBEAT_TAG]) < 102:
            assert time.monotonic() < deadline
            time.sleep(0.02)
    assert tracking.client.get_run(run.run_id).info.status == "FINISHED"


def test_beat_that_fails_is_followed_by_the_next() -> None:
    beats: list[int] = []

    def beat() -> None:
        beats.append(1)
        raise ConnectionError

    with Heartbeat(beat, 0.01, "test", patience=5) as heartbeat:
        deadline = time.monotonic() + 30
        while len(beats) < 3:
            assert time.monotonic() < deadline
            time.sleep(0.01)
    assert not heartbeat._thread.is_alive()


def test_run_with_tags_of_its_own_keeps_them(workdir: Path) -> None:
    destination = connect(f"sqlite:///{workdir}/mlflow.db", "tags")
    tracking = destination.open()
    with tracking.run("r", {"mine": "1"}) as run:
        pass
    tags: dict[str, Any] = tracking.client.get_run(run.run_id).data.tags
    assert tags["mine"] == "1"
    assert abs(int(tags[HEARTBEAT_TAG]) - time.time()) < 600
