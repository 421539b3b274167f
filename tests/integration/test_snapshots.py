"""A backup of database and artifacts brings both back: on an empty machine, and after whatever ended one half-way."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from mlflow import MlflowClient

from .conftest import NewStack
from .stack import BUCKET, PREFIX, ROOT, STORAGE, Stack, wait_until
from .test_backup import run, run_names
from .test_lifecycle import store_something

# What a person sees of a snapshot.
SUMMARY = re.compile(r"mlflow-\d{8}T\d{6}Z: database [\d,]+ bytes; ([\d,]+) artifacts \([\d,]+ bytes\), (.*)\n")
# Cloud Storage keeps the contents itself; here they are copied all the same, as they can be.
COPY = {"BACKUP_ARTIFACTS": "copy"}
NOTED = "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = current_database()"
LOCK = "SELECT pg_try_advisory_lock(5000318);"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder for backups."""
    path = tmp_path / "backups"
    path.mkdir()
    return path


def take(stack: Stack, folder: Path) -> tuple[int, str]:
    """Takes a snapshot; returns how many artifacts it has, and what is said of them."""
    done = run("backup", stack, folder, environment={**os.environ, **stack.settings, **COPY})
    assert done.returncode == 0, done.stderr
    found = SUMMARY.fullmatch(done.stdout)
    assert found, done.stdout
    return int(found[1].replace(",", "")), found[2]


def snapshots(folder: Path) -> list[Path]:
    """Returns a folder's snapshots, the oldest first."""
    return sorted(path for path in folder.iterdir() if re.fullmatch(r"mlflow-\w+Z", path.name))


def error(done: subprocess.CompletedProcess[str]) -> str:
    """Returns what a script that failed has said: one line, after those that say what it is at."""
    assert done.returncode == 1, done.stdout + done.stderr
    (line,) = [line for line in done.stderr.splitlines() if not line.startswith("==> ")]
    return line


@contextmanager
def logging(stack: Stack) -> Iterator[list[str]]:
    """Logs runs as clients do, the artifact and then the tag that names it, until the block ends; yields their ids."""
    client = MlflowClient(stack.url)
    over = threading.Event()
    logged: list[str] = []

    def log() -> None:
        while not over.is_set():
            run_id = client.create_run("0", run_name="while it is backed up").info.run_id
            text = f"what {run_id} has stored"
            client.log_text(run_id, text, "late.txt")
            client.set_tag(run_id, "late", hashlib.sha256(text.encode()).hexdigest())
            logged.append(run_id)

    threads = [threading.Thread(target=log) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        wait_until(lambda: len(logged) > 5, "runs are logged")
        yield logged
    finally:
        over.set()
        for thread in threads:
            thread.join()


def test_snapshot_is_restored_on_an_empty_machine(crash_stack: Stack, folder: Path, tmp_path: Path) -> None:
    """What is logged during a backup is in it whole, or not at all; the second backup copies what is new."""
    crash_stack.wait_healthy()
    assert_stored = store_something(crash_stack, "before the snapshot")
    with logging(crash_stack) as logged:
        before = len(logged)
        take(crash_stack, folder)
        during = len(logged) - before
    assert during > 0, "nothing was logged meanwhile"
    crash_stack.compose("down", "--volumes")
    crash_stack.up()
    assert run_names(crash_stack) == set()
    done = run("restore", crash_stack, folder)
    assert done.returncode == 0, done.stderr
    assert_stored()
    client = MlflowClient(crash_stack.url)
    tagged = [one for one in client.search_runs(["0"], max_results=5000) if "late" in one.data.tags]
    assert len(tagged) >= before
    for one in tagged:
        path = client.download_artifacts(one.info.run_id, "late.txt", str(tmp_path))
        assert hashlib.sha256(Path(path).read_bytes()).hexdigest() == one.data.tags["late"]
    # The restored stack is the same one: its backups go on in the folder, with what is new.
    count, _ = take(crash_stack, folder)
    store_something(crash_stack, "after it")
    again, what = take(crash_stack, folder)
    assert again == count + 1
    assert what.startswith("1 of them new")


def test_restore_brings_replaced_artifacts_back(crash_stack: Stack, folder: Path) -> None:
    crash_stack.wait_healthy()
    client = MlflowClient(crash_stack.url)
    run_id = client.create_run("0").info.run_id
    client.log_text(run_id, "first", "note.txt")
    (name,) = [name for name in crash_stack.object_names() if run_id in name]
    take(crash_stack, folder)
    noted = crash_stack.sql(NOTED)
    client.log_text(run_id, "second", "note.txt")
    done = run("restore", crash_stack, "--discard", snapshots(folder)[0])
    assert done.returncode == 0, done.stderr
    # Monitoring knows as before when the last backup was.
    assert str(noted[0][0]).startswith("last backup: ")
    assert crash_stack.sql(NOTED) == noted
    assert re.search(r"^artifacts: 1 put back, \d+ are there already$", done.stdout, re.M)
    assert crash_stack.object_content(name) == b"first"
    assert not list(folder.glob("*replaced*"))


def test_damaged_snapshot_changes_nothing(crash_stack: Stack, folder: Path) -> None:
    """What is missing or damaged is said in one line; the rest is restored where that is asked for."""
    crash_stack.wait_healthy()
    assert_stored = store_something(crash_stack, "in the damaged snapshot")
    take(crash_stack, folder)
    store_something(crash_stack, "after the damaged snapshot")
    names = run_names(crash_stack)
    damaged, *_ = [
        path for path in folder.glob("objects/*/*") if path.read_bytes() == b"content of in the damaged snapshot"
    ]
    damaged.write_bytes(b"something else")
    said = error(run("restore", crash_stack, folder))
    assert re.fullmatch(
        r"backup: error: 1 artifacts are missing or damaged, \S+/note.txt for one: nothing was changed"
        r" \(--incomplete restores the others, and lists these\)",
        said,
    )
    assert run_names(crash_stack) == names
    (snapshot,) = snapshots(folder)
    dump = (snapshot / "database.dump").read_bytes()
    (snapshot / "database.dump").write_bytes(dump[:-100])
    assert "is missing or damaged: nothing was changed" in error(run("restore", crash_stack, "--incomplete", folder))
    (snapshot / "database.dump").write_bytes(dump)
    done = run("restore", crash_stack, "--incomplete", folder)
    assert done.returncode == 0, done.stderr
    assert re.search(r"^missing: \S+/note.txt$", done.stdout, re.M)
    assert "after the damaged snapshot" not in run_names(crash_stack)
    # The storage has it still.
    assert_stored()


def reader(stack: Stack) -> Callable[[str], bytes]:
    """Returns a function that reads artifacts' objects, with one client for all."""
    if STORAGE == "gcs":
        bucket = stack.gcs("mlflow-gc").bucket(BUCKET)
        return lambda name: bytes(bucket.blob(PREFIX + name).download_as_bytes())
    s3 = stack.s3(stack.minio_root)
    return lambda name: s3.get_object(Bucket=BUCKET, Key=name)["Body"].read()


def test_killed_restore_is_finished(crash_stack: Stack, folder: Path, tmp_path: Path) -> None:
    """Killed while artifacts are put back: the database stays as it is, and the same command finishes it."""
    crash_stack.wait_healthy()
    client = MlflowClient(crash_stack.url)
    run_id = client.create_run("0").info.run_id
    files = tmp_path / "files"
    files.mkdir()
    for content in ("first", "second"):
        for number in range(300):
            (files / f"{number:03}.txt").write_text(f"{content} {number}")
        client.log_artifacts(run_id, str(files))
        if content == "first":
            take(crash_stack, folder)
    store_something(crash_stack, "after the snapshot")
    names = sorted(name for name in crash_stack.object_names() if run_id in name)
    environment = {**os.environ, **crash_stack.settings, **COPY}
    command = [str(ROOT / "scripts" / "restore"), "--discard", str(folder)]
    killed = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    wait_until(lambda: crash_stack.containers("com.docker.compose.service=backup"), "the restoration begins")
    (container,) = crash_stack.containers("com.docker.compose.service=backup")
    # One client, asked without a pause: all is back within a second or two.
    read = reader(crash_stack)
    while not read(names[0]).startswith(b"first"):
        assert killed.poll() is None, killed.communicate()
    container.kill()
    killed.communicate(timeout=60)
    assert killed.returncode == 1
    assert crash_stack.object_content(names[-1]).startswith(b"second")
    assert "after the snapshot" in run_names(crash_stack)
    done = run("restore", crash_stack, "--discard", folder)
    assert done.returncode == 0, done.stdout + done.stderr
    assert {crash_stack.object_content(name)[:5] for name in names} == {b"first"}
    assert "after the snapshot" not in run_names(crash_stack)


def test_another_stacks_snapshot_is_refused(crash_stack: Stack, new_stack: NewStack, folder: Path) -> None:
    crash_stack.wait_healthy()
    store_something(crash_stack, "of the one stack")
    take(crash_stack, folder)
    with new_stack() as other:
        other.up()
        store_something(other, "of the other stack")
        assert "holds the backups of another stack" in error(run("backup", other, folder))
        assert "this is the backup of another stack" in error(run("restore", other, folder))
        assert run_names(other) == {"of the other stack"}
        done = run("restore", other, "--other", folder)
        assert done.returncode == 0, done.stderr
        assert "of the one stack" in run_names(other)


def test_killed_backup_is_finished_by_the_next(crash_stack: Stack, folder: Path) -> None:
    crash_stack.wait_healthy()
    client = MlflowClient(crash_stack.url)
    run_id = client.create_run("0").info.run_id
    for number in range(60):
        client.log_text(run_id, f"{number}" * 100, f"{number}.txt")
    environment = {**os.environ, **crash_stack.settings, **COPY}
    command = [str(ROOT / "scripts" / "backup"), str(folder)]
    killed = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    wait_until(lambda: any(folder.glob("objects/*/*")), "something has been copied")
    for container in crash_stack.containers("com.docker.compose.service=backup"):
        container.kill()
    killed.communicate(timeout=60)
    assert killed.returncode != 0
    assert snapshots(folder) == []
    copied = len(list(folder.glob("objects/*/*")))
    count, _ = take(crash_stack, folder)
    assert count >= 60
    assert len(list(folder.glob("objects/*/*"))) >= max(copied, 60)
    assert len(snapshots(folder)) == 1
    assert not list(folder.glob(".new-*"))


@pytest.fixture
def small_disk(folder: Path) -> Iterator[Path]:
    """A folder with room for 2 MiB."""
    command = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("only root can mount a small file system")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_full_disk_is_one_line(crash_stack: Stack, small_disk: Path) -> None:
    crash_stack.wait_healthy()
    client = MlflowClient(crash_stack.url)
    run_id = client.create_run("0").info.run_id
    for number in range(3):
        client.log_text(run_id, f"{number}" * 2**20, f"large-{number}.txt")
    done = run("backup", crash_stack, small_disk, environment={**os.environ, **crash_stack.settings, **COPY})
    assert re.fullmatch(r"backup: error: .*: No space left on device", error(done))
    assert snapshots(small_disk) == []


def test_closed_folder_is_one_line(crash_stack: Stack, folder: Path) -> None:
    folder.chmod(0o500)
    assert re.fullmatch(r"backup: error: .*: Permission denied", error(run("backup", crash_stack, folder)))
    assert list(folder.iterdir()) == []


def test_backup_and_gc_take_turns(crash_stack: Stack, folder: Path) -> None:
    """A restore as well: neither may save, or remove, what it puts back."""
    crash_stack.wait_healthy()
    take(crash_stack, folder)
    command = 'export PGPASSWORD=$(cat "$POSTGRES_PASSWORD_FILE"); psql -qAt -h "$HOSTNAME" -U "$POSTGRES_USER" mlflow'
    other = subprocess.Popen(
        crash_stack.command("exec", "-T", "postgres", "bash", "-c", command),
        env=crash_stack.environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert other.stdin
    assert other.stdout
    try:
        other.stdin.write(LOCK + "\n")
        other.stdin.flush()
        assert other.stdout.readline() == "t\n"
        message = "another backup, or garbage collection, is at work on this stack: try again when it has ended"
        assert error(run("backup", crash_stack, folder)) == f"backup: error: {message}"
        done = crash_stack.compose("run", "--rm", "-T", "gc", check=False)
        assert done.returncode == 1
        assert f"gc: error: {message}; nothing was removed\n" in done.stderr
        message = "another restore, a backup or garbage collection is at work on this stack: wait until it has ended"
        assert error(run("restore", crash_stack, folder)) == f"restore: error: {message}; nothing was changed"
    finally:
        other.communicate(timeout=30)


def test_drill_restores_into_a_stack_of_its_own(crash_stack: Stack, folder: Path) -> None:
    crash_stack.wait_healthy()
    store_something(crash_stack, "for the drill")
    take(crash_stack, folder)
    names = run_names(crash_stack)
    done = run("backup", crash_stack, "--verify", folder)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"^\d+ artifacts are in the storage as in mlflow-\w+$", done.stdout, re.M)
    assert done.stderr.endswith(f"==> {snapshots(folder)[0]} can be restored\n")
    assert run_names(crash_stack) == names
    for path in folder.glob("objects/*/*"):
        path.unlink()
    done = run("backup", crash_stack, "--verify", folder)
    assert done.returncode == 1
    assert "restore-drill: error: the drill failed" in done.stderr
    filters: dict[str, str | list[str] | bool] = {"label": f"com.docker.compose.project={crash_stack.project}-drill"}
    assert crash_stack.docker.containers.list(all=True, filters=filters) == []
    assert crash_stack.docker.volumes.list(filters={**filters}) == []
    assert not list(folder.glob("*replaced*"))


@pytest.mark.gcs  # MinIO's server identity sees no older versions
def test_listed_artifacts_come_back_from_the_bucket(crash_stack: Stack, folder: Path) -> None:
    """With Cloud Storage, a snapshot names the artifacts' generations, which the bucket keeps."""
    assert STORAGE == "gcs"
    crash_stack.wait_healthy()
    client = MlflowClient(crash_stack.url)
    run_id = client.create_run("0").info.run_id
    client.log_text(run_id, "first", "note.txt")
    (name,) = [name for name in crash_stack.object_names() if run_id in name]
    done = run("backup", crash_stack, folder)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("listed; they stay in the bucket\n")
    assert not (folder / "objects").exists()
    client.log_text(run_id, "second", "note.txt")
    done = run("restore", crash_stack, folder)
    assert done.returncode == 0, done.stderr
    assert crash_stack.object_content(name) == b"first"
