"""Tasks on a cluster of this machine's processes: outcomes, deaths, interrupts, certificates, what travels."""

from __future__ import annotations

import http.server
import importlib
import os
import shutil
import signal
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from trainer.data.dataset import Table
from trainer.parallel.cluster import client_requests, remote_pool
from trainer.parallel.cluster.code_version import code_resource
from trainer.parallel.cluster.credentials import ClusterError, Credentials, parse_address, reach
from trainer.parallel.cluster.parcels import Parcel, ParcelCache, Sealed, pack, pack_answer, unpack_answer
from trainer.parallel.cluster.remote_pool import ATTEMPTS, ClusterPool
from trainer.parallel.engine import run_task
from trainer.parallel.pool import GRACE, TaskDiedError
from trainer.util.errors import InputError

from .. import programs
from .cluster_processes import LocalCluster, local_cluster, make_certificates

pytestmark = pytest.mark.process


@pytest.fixture(scope="module")
def _path() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(Path(__file__).parent)
        yield


@pytest.fixture(scope="module")
def tasks(_path: None) -> Any:
    """Return the module of tasks, under a name that the workers can import it by."""
    return importlib.import_module("engine_tasks")


@pytest.fixture(scope="module")
def pool(cluster: LocalCluster) -> Iterator[ClusterPool]:
    """Return its workers."""
    with closing(cluster.pool()) as pool:
        yield pool


def table(rows: int = 50) -> Table:
    return Table(pd.DataFrame({"a": np.arange(rows) / 7, "b": ["x", "y"] * (rows // 2)}), np.zeros(rows, np.int64))


def test_each_item_has_its_outcome(pool: ClusterPool, tasks: Any) -> None:
    outcomes = list(pool.map(tasks.double, [5, 6, 7], 100))
    assert {outcome.index: outcome.answer for outcome in outcomes} == {0: 110, 1: 112, 2: 114}


def test_items_run_on_all_workers(pool: ClusterPool, tasks: Any) -> None:
    assert pool.jobs == 2
    assert len({outcome.answer for outcome in pool.map(tasks.process_id, range(20))}) == 2


def test_failure_does_not_disturb_the_others(pool: ClusterPool, tasks: Any) -> None:
    outcomes = {outcome.item: outcome for outcome in pool.map(tasks.fail_at_two, [1, 2, 3])}
    assert (outcomes[1].answer, outcomes[3].answer) == (1, 3)
    assert isinstance(outcomes[2].error, InputError)
    assert str(outcomes[2].error) == "two is no good"


def test_items_are_drawn_when_a_worker_is_free(pool: ClusterPool, tasks: Any) -> None:
    """An item may depend on earlier outcomes: none is drawn ahead of a free worker."""
    drawn: list[int] = []
    done: list[Any] = []

    def items() -> Iterator[int]:
        for number in range(6):
            drawn.append(len(done))
            yield number

    for outcome in pool.map(tasks.double, items(), 0):
        done.append(outcome)
    assert [number - before for number, before in enumerate(drawn)] == [0, 1, 1, 1, 1, 1]


def test_task_waits_for_no_busy_worker(pool: ClusterPool, tasks: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker is free when it has ended a task, which is after its answer; before, the scheduler takes any of them."""
    started: list[Any] = []
    unfinished: list[int] = []
    submit = pool._client.submit

    def items() -> Iterator[int]:
        for number in range(6):
            unfinished.append(sum(future.status == "pending" for future in started))
            yield number

    def remember(*args: Any, **options: Any) -> Any:
        started.append(submit(*args, **options))
        return started[-1]

    monkeypatch.setattr(pool._client, "submit", remember)
    assert [one.answer for one in pool.map(tasks.linger, items())] == ["gone"] * 6
    assert max(unfinished) < pool.jobs


def test_reports_reach_the_display(pool: ClusterPool, tasks: Any) -> None:
    shown: list[Any] = []
    assert len(list(pool.map(tasks.report, [4], show=shown.append))) == 1
    assert [(step.index, step.name, step.done, step.total, step.loss) for step in shown] == [(4, "one", 3, 10, 0.5)]


def test_task_asks_its_client(pool: ClusterPool, tasks: Any) -> None:
    outcomes = list(pool.map(tasks.ask, [3, 4], answer=lambda question: question * 10))
    assert {outcome.item: outcome.answer for outcome in outcomes} == {3: 30, 4: 40}


def test_login_travels_with_the_task(pool: ClusterPool, tasks: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker is its client to the tracking server as long as the task runs, whoever it is otherwise."""
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "mlr_alice")
    assert [one.answer for one in pool.map(tasks.login, range(4))] == [["mlr_alice", None, None]] * 4
    monkeypatch.delenv("MLFLOW_TRACKING_TOKEN")
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "bob")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "secret")
    assert [one.answer for one in pool.map(tasks.login, range(4))] == [[None, "bob", "secret"]] * 4
    for name in ("USERNAME", "PASSWORD"):
        monkeypatch.delenv(f"MLFLOW_TRACKING_{name}")
    assert [one.answer for one in pool.map(tasks.login, range(4))] == [[None, None, None]] * 4


def test_scheduler_keeps_no_question(pool: ClusterPool, tasks: Any) -> None:
    """They may hold a piece of a file each."""
    list(pool.map(tasks.ask, [3, 4], answer=lambda question: question))
    kept = pool._client.get_events()
    assert not [event for events in kept.values() for _, event in events if "question" in event]


def test_failure_of_the_answer_reaches_the_task(pool: ClusterPool, tasks: Any) -> None:
    """The task that asked fails, with the reason; the others go on."""

    def answer(question: int) -> int:
        if question == 3:
            raise InputError("three is no good")
        return question

    outcomes = {outcome.item: outcome for outcome in pool.map(tasks.ask, [3, 4], answer=answer)}
    assert isinstance(outcomes[3].error, InputError)
    assert str(outcomes[3].error) == "three is no good"
    assert outcomes[4].answer == 4


def test_table_travels_once(pool: ClusterPool, tasks: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second map differs in what all share, and not in the table: that is neither sent nor unpacked again."""
    sent = parcels_sent(monkeypatch)
    maps = [list(pool.map(tasks.identity, range(8), {"table": table(), "name": name})) for name in ("one", "two")]
    places = [{outcome.answer for outcome in outcomes} for outcomes in maps]
    assert places[0] == places[1]
    assert len(sent) == 3
    with closing(ClusterPool(pool.address, pool_credentials(pool), 5)) as another:
        assert {one.answer for one in another.map(tasks.identity, range(8), {"table": table(), "name": "x"})} == places[
            0
        ]


def parcels_sent(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the digests of the parcels that clients in this process send from now on."""
    sent: list[str] = []
    put = client_requests.put_parcel

    def listen(scheduler: Any, client: str, parcel: Parcel) -> Any:
        sent.append(parcel.digest)
        return put(scheduler, client, parcel)

    monkeypatch.setattr(client_requests, "put_parcel", listen)
    return sent


def test_table_of_an_answer_stays_there(pool: ClusterPool, tasks: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A task makes it, the client gets its number of rows, and the tasks of the next map get the table."""
    made = run_task(pool, tasks.make_table, 300)
    assert (made["table"].rows, made["table"].held, made["name"]) == (300, True, "made there")
    assert not isinstance(made["table"], Table)
    sent = parcels_sent(monkeypatch)
    outcomes = list(pool.map(tasks.sum_of_table, range(4), made))
    assert {outcome.answer for outcome in outcomes} == {sum(range(300))}
    assert made["table"].parcel not in sent


def pool_credentials(pool: ClusterPool) -> Credentials:
    return Credentials(Path(pool._client.security.tls_ca_file).parent)


def test_interrupt_lets_tasks_tidy_up(pool: ClusterPool, tmp_path: Path, tasks: Any) -> None:
    def interrupt() -> None:
        while len(list(tmp_path.glob("started-*"))) < 2:
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    with pytest.raises(KeyboardInterrupt), closing(pool.map(tasks.wait_and_tidy_up, [1, 2, 3], tmp_path)) as outcomes:
        list(outcomes)
    assert sorted(path.name for path in tmp_path.glob("tidied-*")) == ["tidied-1", "tidied-2"]
    assert not (tmp_path / "started-3").exists()
    # The workers go on with what comes next.
    assert {outcome.answer for outcome in pool.map(tasks.double, [1, 2], 0)} == {2, 4}


def test_client_that_is_gone_leaves_no_task(cluster: LocalCluster, tmp_path: Path, tasks: Any) -> None:
    """Its tasks are interrupted, and tidy up."""
    program = f"""
import os, threading, time, signal
from pathlib import Path
import engine_tasks
from trainer.parallel.cluster.credentials import Credentials
from trainer.parallel.cluster.remote_pool import ClusterPool
def die():
    while not Path("started-1").exists():
        time.sleep(0.01)
    os.kill(os.getpid(), signal.SIGKILL)
threading.Thread(target=die).start()
pool = ClusterPool({cluster.address!r}, Credentials.find(Path({str(cluster.client.folder)!r})), 10)
list(pool.map(engine_tasks.wait_and_tidy_up, [1], Path.cwd()))
"""
    done = programs.run(
        ["-c", program], cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(Path(__file__).parent)}, timeout=60
    )
    assert done.returncode == -signal.SIGKILL
    _wait_for(tmp_path / "tidied-1")


def test_task_of_a_dead_worker_starts_elsewhere(tmp_path: Path, tasks: Any) -> None:
    lost: list[tuple[int, str]] = []

    def again(item: int, reason: str) -> int:
        lost.append((item, reason))
        return item

    with local_cluster(tmp_path) as cluster, closing(cluster.pool()) as pool:
        outcomes = list(pool.map(tasks.die_the_first_time, [1, 2, 3], tmp_path, again=again))
    assert {outcome.index: outcome.answer for outcome in outcomes} == {0: 1, 1: 2, 2: 3}
    ((item, reason),) = lost
    assert item == 2
    assert reason.startswith("worker ")
    assert reason.endswith(" died")


def test_task_that_kills_workers_is_given_up(tmp_path: Path, tasks: Any) -> None:
    """It is started a bounded number of times."""
    lost: list[int] = []

    def again(item: int, _reason: str) -> int:
        lost.append(item)
        return item

    with local_cluster(tmp_path, ATTEMPTS) as cluster, closing(cluster.pool()) as pool:
        (outcome,) = pool.map(tasks.die_at_two, [2], again=again)
    assert isinstance(outcome.error, TaskDiedError)
    assert f"{ATTEMPTS} times" in str(outcome.error)
    assert len(lost) == ATTEMPTS - 1


def test_stopped_worker_hands_its_task_on(tmp_path: Path, tasks: Any) -> None:
    """SIGTERM: the task tidies up there, and starts elsewhere."""
    with local_cluster(tmp_path, 1) as cluster, closing(cluster.pool()) as pool:
        first = cluster.processes[-1]

        def stop() -> None:
            while not (tmp_path / "started-1").exists():
                time.sleep(0.01)
            cluster.start_worker()
            first.terminate()

        threading.Thread(target=stop).start()
        (outcome,) = pool.map(tasks.wait_and_tidy_up, [1], tmp_path, again=lambda _item, _reason: 0)
        assert outcome.error is None
        assert (tmp_path / "tidied-1").exists()
        assert first.wait(10) == 0


def test_late_interrupt_leaves_the_worker_at_work(pool: ClusterPool, tasks: Any) -> None:
    """One that comes when a task has caught all that it catches: it would end the worker's connection for good."""
    future = pool._client.submit(tasks.raise_interrupt, resources={code_resource(): 1}, pure=False)
    assert "interrupted late" in str(future.exception(timeout=30))
    assert pool.look() == 2
    outcomes = list(pool.map(tasks.wait, [0.2] * 4))
    assert [outcome.error for outcome in outcomes] == [None] * 4


def test_interrupt_as_an_answer_comes_ends_at_once(
    pool: ClusterPool, tasks: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C while the client unpacks an answer: it does not wait for another one."""

    def interrupted(_content: bytes) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(remote_pool, "unpack_answer", interrupted)
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        list(pool.map(tasks.wait, [0.01]))
    assert time.monotonic() - began < GRACE / 2


def test_worker_without_its_connection_ends(tmp_path: Path, tasks: Any) -> None:
    """It would stay there for good, and get no task; its container starts it anew."""
    with local_cluster(tmp_path, workers=1) as cluster, closing(cluster.pool()) as pool:
        pool._client.run(tasks.end_event_loop)
        assert cluster.processes[-1].wait(30) == 1


def test_dead_scheduler_is_one_line(tmp_path: Path, tasks: Any) -> None:
    """The workers tidy up, and end as well."""
    with local_cluster(tmp_path) as cluster:
        pool = cluster.pool()

        def kill() -> None:
            while len(list(tmp_path.glob("started-*"))) < 2:
                time.sleep(0.01)
            cluster.scheduler.kill()

        threading.Thread(target=kill).start()
        with pytest.raises(ClusterError, match=r"tls://127.0.0.1:\d+: the scheduler is gone; the same command goes on"):
            list(pool.map(tasks.wait_and_tidy_up, [1, 2], tmp_path))
        assert [process.wait(30) for process in cluster.processes[1:]] == [1, 1]
        assert sorted(path.name for path in tmp_path.glob("tidied-*")) == ["tidied-1", "tidied-2"]
        pool.close()


def test_broken_connection_is_one_line(cluster: LocalCluster, tmp_path: Path, tasks: Any) -> None:
    """Also where the client has another connection at once: its tasks are lost to it, and end."""
    with closing(cluster.pool()) as pool:

        def cut() -> None:
            while not (tmp_path / "started-1").exists():
                time.sleep(0.01)
            client: Any = pool._client
            client.loop.add_callback(client.scheduler_comm.comm.abort)

        threading.Thread(target=cut).start()
        with pytest.raises(ClusterError, match="the scheduler is gone; the same command goes on"):
            list(pool.map(tasks.wait_and_tidy_up, [1], tmp_path))
        _wait_for(tmp_path / "tidied-1")


def _wait_for(file: Path) -> None:
    deadline = time.monotonic() + 30
    while not file.exists():
        assert time.monotonic() < deadline, f"no {file.name}"
        time.sleep(0.05)


def test_worker_of_another_code_gets_no_task(tmp_path: Path, tasks: Any) -> None:
    """It is named, once; alone it is the same as no worker."""
    with local_cluster(tmp_path, 0) as cluster:
        other = cluster.start_worker(code="0123456789ab")
        with pytest.raises(ClusterError, match=r"no worker of this code \(\w{12}\); 1 of another version"):
            cluster.pool(patience=1)
        cluster.start_worker()
        lines: list[str] = []
        with closing(ClusterPool(cluster.address, cluster.client, 10, lines.append)) as pool:
            assert {outcome.answer for outcome in pool.map(tasks.process_id, range(6))} != {other.pid}
            assert pool.jobs == 1
        (line,) = lines
        assert f"worker {socket.gethostname()}-{other.pid} runs another version of the code (0123456789ab" in line


def test_cluster_without_workers_is_one_line(tmp_path: Path) -> None:
    begun = time.monotonic()
    with local_cluster(tmp_path, 0) as cluster, pytest.raises(ClusterError, match="has no worker of this code"):
        cluster.pool(patience=1)
    assert time.monotonic() - begun < 30


# Certificates ---------------------------------------------------------------------------------------------------------


def expired(folder: Path) -> Path:
    """Return a client's certificate of this authority that has expired."""
    shutil.copytree(folder / "cluster-client", folder / "expired")
    authority = folder / "cluster-authority"
    request = ["openssl", "req", "-new", "-key", str(folder / "expired/key.pem"), "-subj", "/CN=client"]
    done = subprocess.run(request, check=True, capture_output=True)
    sign = ["openssl", "x509", "-req", "-CA", str(authority / "certificate.pem"), "-CAkey", str(authority / "key.pem")]
    signed = subprocess.run([*sign, "-days", "-1"], input=done.stdout, check=True, capture_output=True)
    (folder / "expired/certificate.pem").chmod(0o644)
    (folder / "expired/certificate.pem").write_bytes(signed.stdout)
    return folder / "expired"


def test_certificate_of_another_authority_is_refused(cluster: LocalCluster, tmp_path: Path) -> None:
    other = Credentials.find(make_certificates(tmp_path / "other") / "cluster-client")
    with pytest.raises(ClusterError, match="the certificates are of different authorities"):
        ClusterPool(cluster.address, other, 1)
    # Also by a client that accepts whatever the scheduler shows.
    assert _says(cluster.address, other, trusting=True) == b""


def test_expired_certificate_is_refused(cluster: LocalCluster) -> None:
    old = Credentials.find(expired(cluster.certificates))
    with pytest.raises(ClusterError, match="this side's certificate has expired"):
        ClusterPool(cluster.address, old, 1)


def test_connection_without_certificate_is_refused(cluster: LocalCluster) -> None:
    assert _says(cluster.address, None, trusting=True) == b""
    assert _says(cluster.address, cluster.client, trusting=True) != b""


def _says(address: str, credentials: Credentials | None, trusting: bool) -> bytes:
    """Return what a scheduler says to who comes with these credentials; nothing where it refuses."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE if trusting else ssl.CERT_REQUIRED
    if credentials is not None:
        context.load_cert_chain(*map(str, credentials.files[1:]))
    try:
        with (
            socket.create_connection(parse_address(address), timeout=10) as plain,
            context.wrap_socket(plain) as secure,
        ):
            return secure.recv(1)
    except ssl.SSLError:
        return b""


def test_plain_connection_is_refused(cluster: LocalCluster) -> None:
    with socket.create_connection(parse_address(cluster.address), timeout=10) as plain:
        plain.sendall(b"GET / HTTP/1.0\r\n\r\n")
        with suppress(ConnectionResetError):
            assert plain.recv(1000) in (b"", b"\x15\x03\x01\x00\x02\x02\x46")


def test_address_without_scheduler_is_one_line(cluster: LocalCluster, tmp_path: Path) -> None:
    with http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with pytest.raises(ClusterError, match="what answers there is no scheduler"):
            reach(f"127.0.0.1:{server.server_port}", cluster.client, 1)
        server.shutdown()
    with pytest.raises(ClusterError, match=r"no scheduler answers: Connection refused \(--cluster"):
        reach(f"127.0.0.1:{server.server_port}", cluster.client, 0.5)


@pytest.mark.parametrize("address", ["tcp://host:1", "http://host", "host:x", "tls://", "tls://host/path", "host:0"])
def test_address_of_another_kind_is_refused(address: str) -> None:
    with pytest.raises(InputError, match="write tls://HOST:PORT"):
        parse_address(address)


def test_missing_certificates_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"ca.pem: No such file or directory; .*TRAINER_CLUSTER_CERTIFICATES"):
        Credentials.find(tmp_path)


def test_certificates_are_kept_until_renewed(tmp_path: Path) -> None:
    """They are made anew with --renew, and one that ends soon is made anew at any start."""
    folder = make_certificates(tmp_path / "one")
    script = Path(__file__).parents[4] / "services/secrets/generate-cluster"

    def run(*args: str) -> set[str]:
        done = subprocess.run(["bash", str(script), *args, str(folder)], check=True, capture_output=True, text=True)
        return {line.split()[1].removesuffix(":") for line in done.stdout.splitlines()}

    assert run() == set()
    assert run("--renew") == {f"cluster-{part}" for part in ("authority", "scheduler", "worker", "client")}
    for file in ("certificate.pem", "key.pem"):
        (folder / "cluster-client" / file).unlink()
        shutil.copy(expired_once(folder) / file, folder / "cluster-client")
    assert run() == {"cluster-client"}


def expired_once(folder: Path) -> Path:
    """Return a certificate that has expired; made once."""
    made = folder / "expired"
    if made.exists():
        return made
    shutil.copytree(folder / "cluster-scheduler", folder / "cluster-client", dirs_exist_ok=True)
    return expired(folder)


# Parcels --------------------------------------------------------------------------------------------------------------


def test_cache_is_bounded_in_bytes() -> None:
    """The table that was used least recently goes first, and what was made with it."""
    packed = [pack({"table": table(rows), "name": "one"}) for rows in (100, 120, 140)]
    parcels = {its.digest: b"".join(its.parts(1 << 20)) for _, parcels in packed for its in parcels}
    fetched: list[str] = []

    def fetch(digest: str) -> bytes:
        fetched.append(digest)
        return parcels[digest]

    room = sum(map(len, parcels.values())) - 1
    cache = ParcelCache(room, fetch)
    for digest, _ in packed:
        assert cache.unpack(digest)["table"].rows in (100, 120, 140)
    assert len(fetched) == 6
    cache.unpack(packed[2][0])
    cache.unpack(packed[1][0])
    assert len(fetched) == 6
    cache.unpack(packed[0][0])
    assert len(fetched) > 6
    assert sum(size for size, _ in cache._kept.values()) <= room


def test_sealed_value_passes_through_a_client() -> None:
    """It is pickled where it only passes, and the value itself in the next task."""
    answer = unpack_answer(pack_answer({"positions": Sealed.of(np.arange(3))}, lambda _parcel: None))
    assert isinstance(answer["positions"], Sealed)
    digest, parcels = pack(answer)
    sent = {parcel.digest: b"".join(parcel.parts(1 << 20)) for parcel in parcels}
    assert ParcelCache(1 << 20, sent.__getitem__).unpack(digest)["positions"].tolist() == [0, 1, 2]
