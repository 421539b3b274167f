"""A backup in a bucket brings everything back; what the bucket refuses is one line, and no backup."""

from __future__ import annotations

import json
import os
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from mlflow import MlflowClient

from .people import PASSWORD, user
from .stack import STORAGE, Identity, Stack, wait_until
from .test_backup import run, run_names
from .test_doctor import findings
from .test_lifecycle import store_something
from .test_snapshots import COPY, NOTED, SUMMARY, error

BUCKET = "nightly-backups"
# An identity of its own, as an operator makes one: it may do everything in its bucket, and nothing else.
IDENTITY = Identity("nightly", "a-key-of-the-test")
NEW_BUCKET = f"""
import sys; sys.path.insert(0, "/opt")
import urllib3, bucket
from minio import Minio
from minio.credentials import Credentials
root, http = bucket.administrator(), urllib3.PoolManager()
client = Minio(endpoint="minio:9000", access_key=root.access_key, secret_key=root.secret_key, secure=False)
client.bucket_exists(bucket_name="{BUCKET}") or client.make_bucket(bucket_name="{BUCKET}")
bucket.ACTIONS["nightly"] = (["s3:*"], ["s3:*"])
key = Credentials("{IDENTITY.access_key}", "{IDENTITY.secret_key}")
archive = bucket.identity_archive("{BUCKET}", {{"nightly": key}})
bucket.create_identities(http, "minio:9000", root, archive)
"""


@dataclass(frozen=True)
class Target:
    """A bucket for backups.

    Attributes:
        address: Its address, with a folder.
        environment: The settings for it.
        key: The file with its key.
    """

    address: str
    environment: dict[str, str]
    key: Path

    def with_key(self, text: str) -> Target:
        """Returns the same bucket with another key."""
        key = self.key.with_name("other-key")
        key.write_text(text)
        key.chmod(0o644)
        return replace(self, key=key, environment={**self.environment, "BACKUP_KEY_FILE": str(key)})


def key_text(identity: Identity) -> str:
    """Returns a key pair as AWS's tools write it."""
    return f"[default]\naws_access_key_id = {identity.access_key}\naws_secret_access_key = {identity.secret_key}\n"


@pytest.fixture
def target(crash_stack: Stack, tmp_path: Path) -> Target:
    """A bucket beside the artifacts', with an identity of its own; each test has a folder of its own in it."""
    crash_stack.wait_healthy()
    key = tmp_path / "backup-key"
    if STORAGE == "gcs":
        key.write_text(crash_stack.read_volume("gcs-keys", "mlflow-admin.json"))
        client = crash_stack.gcs("mlflow-admin")
        if client.lookup_bucket(BUCKET) is None:
            client.create_bucket(BUCKET)
    else:
        crash_stack.compose("run", "--rm", "-T", "--no-deps", "--entrypoint", "python3", "bucket", "-c", NEW_BUCKET)
        key.write_text(key_text(IDENTITY))
    key.chmod(0o644)
    settings = {**crash_stack.settings, **COPY, "BACKUP_KEY_FILE": str(key)}
    if STORAGE == "minio":
        settings["BACKUP_S3_ENDPOINT"] = "http://minio:9000"
    scheme = "gs" if STORAGE == "gcs" else "s3"
    return Target(f"{scheme}://{BUCKET}/{tmp_path.name}", {**os.environ, **settings}, key)


def objects(stack: Stack, target: Target) -> set[str]:
    """Returns the names of a target's objects."""
    folder = target.address.rpartition("/")[2] + "/"
    if STORAGE == "gcs":
        names = [blob.name for blob in stack.gcs("mlflow-admin").list_blobs(BUCKET, prefix=folder)]
    else:
        found = stack.s3(IDENTITY).list_objects_v2(Bucket=BUCKET, Prefix=folder)
        names = [entry["Key"] for entry in found.get("Contents", [])]
    return {name.removeprefix(folder) for name in names}


def take(stack: Stack, target: Target, *options: str) -> tuple[int, str]:
    """Takes a snapshot; returns how many artifacts it has, and what is said of them."""
    done = run("backup", stack, *options, target.address, environment=target.environment)
    assert done.returncode == 0, done.stdout + done.stderr
    found = SUMMARY.match(done.stdout)
    assert found, done.stdout
    return int(found[1].replace(",", "")), found[2]


def test_bucket_brings_all_back(crash_stack: Stack, target: Target) -> None:
    """The second backup uploads what is new; a restoration undoes what came later, on a machine that knows nothing."""
    assert_stored = store_something(crash_stack, "in the bucket")
    count, _ = take(crash_stack, target)
    assert all(len(Path(name).name) == 64 for name in objects(crash_stack, target) if name.startswith("objects/"))
    assert str(crash_stack.sql(NOTED)[0][0]).startswith("last backup: ")
    assert findings(crash_stack)[1]["last backup"]["state"] == "OK"
    store_something(crash_stack, "before the second")
    again, what = take(crash_stack, target, "--keep", "1")
    assert (again, what.split(" of")[0]) == (count + 1, "1")
    (snapshot,) = {name.split("/")[0] for name in objects(crash_stack, target) if name.startswith("mlflow-")}
    store_something(crash_stack, "later")
    crash_stack.docker.volumes.get(f"{crash_stack.project}_backup-work").remove()
    done = run("restore", crash_stack, "--discard", f"{target.address}/{snapshot}", environment=target.environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert_stored()
    assert "before the second" in run_names(crash_stack)
    assert "later" not in run_names(crash_stack)


def test_bucket_brings_logins_back(crash_stack: Stack, target: Target) -> None:
    """Those at a proxy without roles (AUTH=off), also while the proxy does not run: the bucket holds their hashes."""
    crash_stack.up("--no-deps", "proxy")
    try:
        user(crash_stack, "add", "alice", password=PASSWORD)
        before = crash_stack.read("proxy", "cat", "/data/users")
        crash_stack.compose("--profile", "https", "stop", "proxy")
        take(crash_stack, target)
        assert [name for name in objects(crash_stack, target) if name.endswith("Z/users")]
        crash_stack.up("--no-deps", "proxy")
        user(crash_stack, "remove", "alice")
        crash_stack.compose("--profile", "https", "stop", "proxy")
        done = run("restore", crash_stack, "--discard", target.address, environment=target.environment)
        assert done.returncode == 0, done.stdout + done.stderr
        crash_stack.up("--no-deps", "proxy")
        assert crash_stack.read("proxy", "cat", "/data/users") == before
    finally:
        crash_stack.compose("--profile", "https", "rm", "--stop", "--force", "proxy")
        crash_stack.docker.volumes.get(f"{crash_stack.project}_proxy-data").remove()


def test_restored_bucket_mends_artifacts(crash_stack: Stack, target: Target) -> None:
    client = MlflowClient(crash_stack.url)
    run_id = client.create_run("0").info.run_id
    client.log_text(run_id, "first", "note.txt")
    (name,) = [name for name in crash_stack.object_names() if run_id in name]
    take(crash_stack, target)
    client.log_text(run_id, "second", "note.txt")
    done = run("restore", crash_stack, "--discard", target.address, environment=target.environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert crash_stack.object_content(name) == b"first"


def test_key_shows_nowhere(crash_stack: Stack, target: Target) -> None:
    """Neither in a container's settings or arguments, nor in what is printed."""
    secret = IDENTITY.secret_key if STORAGE == "minio" else json.loads(target.key.read_text())["private_key"][40:80]
    settings = {name: value for name, value in target.environment.items() if name in ("BACKUP_KEY_FILE",)}
    container = crash_stack.start("backup", "--bucket", target.address, "newest", settings=settings)
    try:
        assert secret not in json.dumps(container.attrs)
        container.wait(timeout=60)
        assert secret not in container.logs().decode()
    finally:
        container.remove(force=True)


def test_wrong_bucket_is_one_line(crash_stack: Stack, target: Target) -> None:
    wrong = replace(target, address=target.address.replace(BUCKET, "no-such-bucket"))
    done = run("backup", crash_stack, wrong.address, environment=wrong.environment)
    # S3 does not tell whoever may not see a bucket that there is none.
    assert re.match(r"backup: error: (there is no bucket no-such-bucket|s3://no-such-bucket\S* refuses: )", error(done))
    done = run("restore", crash_stack, wrong.address, environment=wrong.environment)
    assert "no-such-bucket" in error(done)


def test_refused_key_is_one_line(crash_stack: Stack, target: Target) -> None:
    if STORAGE == "gcs":
        other = target.with_key(crash_stack.read_volume("gcs-keys", "only-viewer.json"))
        said = rf"{re.escape(target.address)} refuses: only-viewer\S+ does not have storage\.objects\S+ access"
    else:
        other = target.with_key(key_text(Identity(IDENTITY.access_key, "wrong")))
        said = rf"{re.escape(target.address)} refuses: .*SignatureDoesNotMatch"
    done = run("backup", crash_stack, target.address, environment=other.environment)
    assert re.match(f"backup: error: {said}", error(done)), done.stderr
    assert objects(crash_stack, target) == set()
    empty = target.with_key("")
    done = run("backup", crash_stack, target.address, environment=empty.environment)
    if STORAGE == "minio":
        assert error(done).startswith("backup: error: a bucket of S3 needs a key: BACKUP_KEY_FILE names a file")


def test_empty_bucket_is_one_line(crash_stack: Stack, target: Target) -> None:
    done = run("restore", crash_stack, target.address, environment=target.environment)
    assert error(done) == f"backup: error: there is no backup in {target.address}"


def test_killed_upload_is_finished_by_the_next(crash_stack: Stack, target: Target, tmp_path: Path) -> None:
    client = MlflowClient(crash_stack.url)
    files = tmp_path / "files"
    files.mkdir()
    for number in range(300):
        (files / f"{number}.txt").write_text(f"{tmp_path.name} {number}" * 100)
    client.log_artifacts(client.create_run("0").info.run_id, str(files))
    done: list[int] = []

    def back_up() -> None:
        done.append(run("backup", crash_stack, target.address, environment=target.environment).returncode)

    thread = threading.Thread(target=back_up)
    thread.start()
    wait_until(lambda: crash_stack.containers("com.docker.compose.service=backup"), "the backup begins")
    (container,) = crash_stack.containers("com.docker.compose.service=backup")
    wait_until(lambda: any(name.startswith("objects/") for name in objects(crash_stack, target)), "uploads")
    container.kill()
    thread.join(timeout=120)
    assert done == [1]
    assert not [name for name in objects(crash_stack, target) if name.endswith("manifest.jsonl.gz")]
    count, _ = take(crash_stack, target)
    assert count >= 300
    assert len([name for name in objects(crash_stack, target) if name.endswith("manifest.jsonl.gz")]) == 1


@contextmanager
def forwarded(port: int, address: str) -> Iterator[int]:
    """Passes connections to a port of this machine's address on to one of its loopback; yields the former."""
    listener = socket.create_server((address, 0))

    def pump(source: socket.socket, sink: socket.socket) -> None:
        try:
            while block := source.recv(2**16):
                sink.sendall(block)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            source.close()
            sink.close()

    def serve() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", port))
            for pair in ((client, server), (server, client)):
                threading.Thread(target=pump, args=pair, daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.close()


@pytest.mark.minio  # the drill's stack does not reach the emulator, which is in the other one
def test_drill_restores_out_of_a_bucket(crash_stack: Stack, target: Target) -> None:
    """A bucket on another machine, as the stacks see it: neither finds it in its own networks."""
    assert STORAGE == "minio"
    store_something(crash_stack, "for the drill")
    (network,) = crash_stack.docker.networks.list(names=["^bridge$"])
    address = network.attrs["IPAM"]["Config"][0]["Gateway"]
    with forwarded(crash_stack.port("minio", 9000), address) as port:
        environment = {**target.environment, "BACKUP_S3_ENDPOINT": f"http://{address}:{port}"}
        remote = replace(target, environment=environment)
        take(crash_stack, remote)
        done = run("backup", crash_stack, "--verify", target.address, environment=environment)
        assert done.returncode == 0, done.stdout + done.stderr
        assert re.search(rf"==> {re.escape(target.address)}/mlflow-\w+Z can be restored\n$", done.stderr)
