"""Scoring files on a cluster: the same parts as on one machine, whatever dies."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from trainer.data import demo
from trainer.data.dataset import Dataset
from trainer.data.demo import generate_sessions
from trainer.parallel.cluster.remote_pool import ClusterPool
from trainer.scoring.part_files import RECORD, PartFolder
from trainer.scoring.part_tasks import Piece
from trainer.scoring.predict import PredictRequest
from trainer.scoring.predict_parts import predict_parts

from ..conftest import Answer
from ..parallel.cluster_processes import LocalCluster, local_cluster
from .scoring_files import Saved, save

pytestmark = pytest.mark.process


@pytest.fixture(scope="module")
def saved(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Saved:
    """Return a model."""
    return save(dataset, tmp_path_factory.mktemp("saved") / "model")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with three files, whose parts are of more than one piece if all columns are kept."""
    folder = tmp_path_factory.mktemp("data")
    table = generate_sessions(45_000, seed=8).drop(columns=demo.TARGET)
    for number in range(3):
        table.iloc[15_000 * number : 15_000 * (number + 1)].to_csv(folder / f"part-{number}.csv", index=False)
    return folder


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Return two empty folders."""
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
    return tmp_path / "here", tmp_path / "there"


def contents(folder: Path) -> dict[str, bytes]:
    """Return all files of a folder, but the record of what was scored."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != RECORD}


def test_parts_are_the_same_to_the_bit(
    cluster: LocalCluster,
    saved: Saved,
    data: Path,
    folders: tuple[Path, Path],
    trainer: Callable[..., Answer],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With and without the cluster; a part may be of several pieces."""
    monkeypatch.setenv("TRAINER_CLUSTER_CERTIFICATES", str(cluster.client.folder))
    here, there = folders
    predict = ("predict", "--model", saved.folder, "--data", data, "--keep", "--json", "--out")
    alone = trainer(*predict, here)
    done = trainer(*predict, there, "--cluster", cluster.address)
    assert done.code == 0, done.err
    figures = [{**one.json, "seconds": 0, "out": ""} for one in (alone, done)]
    assert figures[0] == figures[1]
    assert figures[0]["rows"] == 45_000
    assert contents(there) == contents(here)
    assert min(map(len, contents(here).values())) > 1 << 20
    # Another table's files would not go beside them; the same command finds all done, on one machine too.
    again = trainer(*predict, there)
    assert "3 of 3 files were scored before: their parts stay" in again.err


def test_refusal_is_that_of_one_machine(
    cluster: LocalCluster,
    saved: Saved,
    folders: tuple[Path, Path],
    tmp_path: Path,
    trainer: Callable[..., Answer],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TRAINER_CLUSTER_CERTIFICATES", str(cluster.client.folder))
    table = generate_sessions(50, seed=8).drop(columns=demo.TARGET).astype(object)
    table.loc[3, "page_value"] = "much"
    (tmp_path / "data").mkdir()
    table.to_csv(tmp_path / "data" / "part.csv", index=False)
    predict = ("predict", "--model", saved.folder, "--data", tmp_path / "data", "--out")
    here = trainer(*predict, folders[0])
    there = trainer(*predict, folders[1], "--cluster", cluster.address)
    assert (there.code, there.error) == (here.code, here.error)
    assert here.code == 2
    assert contents(folders[1]) == {}


def test_cluster_wants_a_folder(
    cluster: LocalCluster, saved: Saved, data: Path, tmp_path: Path, trainer: Callable[..., Answer]
) -> None:
    """An address out of the environment lets commands that write one file do so."""
    predict = ("predict", "--model", saved.folder, "--data", data, "--out", tmp_path / "one.csv")
    refused = trainer(*predict, "--cluster", cluster.address)
    assert refused.code == 2
    assert refused.error.startswith(f"{tmp_path / 'one.csv'}: is no folder; make it first")
    os.environ["TRAINER_CLUSTER"] = cluster.address
    assert trainer(*predict).code == 0
    assert (tmp_path / "one.csv").is_file()


def at_first_piece(monkeypatch: pytest.MonkeyPatch, call: Callable[[], None]) -> None:
    """Call a function when the first piece of the second file has come, whose worker still waits."""
    take, called = PartFolder.take, threading.Event()

    def taking(self: PartFolder, piece: Piece) -> None:
        if piece.index == 1 and not called.is_set():
            called.set()
            call()
        take(self, piece)

    monkeypatch.setattr(PartFolder, "take", taking)


def test_killed_worker_loses_nothing(
    saved: Saved, data: Path, folders: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The half of a part that it has sent is dropped; another worker scores the file."""
    here, there = folders
    predict_parts(PredictRequest(str(saved.folder), data, here, keep=True))
    attempts: list[int] = []
    with ExitStack() as stack:
        cluster = stack.enter_context(local_cluster(tmp_path, 1))

        def kill() -> None:
            victim = cluster.processes[-1]
            victim.kill()
            thread = threading.Thread(target=cluster.start_worker)
            thread.start()
            stack.callback(thread.join)

        at_first_piece(monkeypatch, kill)
        begin = PartFolder.begin_again
        monkeypatch.setattr(
            PartFolder,
            "begin_again",
            lambda *args: attempts.append(args[1].index) or begin(*args),  # type: ignore[func-returns-value]
        )

        def workers() -> ClusterPool:
            return stack.enter_context(closing(cluster.pool()))

        done = predict_parts(PredictRequest(str(saved.folder), data, there, keep=True), workers)
    assert attempts == [1]
    assert done.rows == 45_000
    assert contents(there) == contents(here)


def test_interrupt_leaves_whole_parts_only(
    cluster: LocalCluster,
    saved: Saved,
    data: Path,
    folders: tuple[Path, Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The workers are free afterwards, and the same command makes the rest."""
    here, there = folders
    request = PredictRequest(str(saved.folder), data, there, keep=True)
    predict_parts(PredictRequest(str(saved.folder), data, here, keep=True))
    with ExitStack() as stack:
        pool = stack.enter_context(closing(cluster.pool()))
        pool.most = 1
        with monkeypatch.context() as patch:
            at_first_piece(patch, lambda: os.kill(os.getpid(), signal.SIGINT))
            with pytest.raises(KeyboardInterrupt):
                predict_parts(request, lambda: pool)
        assert sorted(contents(there)) == ["part-0.csv"]
        assert predict_parts(request, lambda: pool).rows == 45_000
    assert contents(there) == contents(here)
