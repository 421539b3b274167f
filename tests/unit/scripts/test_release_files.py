"""A release's files: its compose file says what the repository's says, without needing the repository."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from releasing import compose_file
from releasing.compose_file import STORAGES, release_compose, release_sso
from releasing.version_facts import Refusal, images, version

ROOT = Path(__file__).parents[3]
PREFIX = "ghcr.io/someone/mlflow-replica"
DIGESTS = {name: f"sha256:{hashlib.sha256(name.encode()).hexdigest()}" for name in images()}


def parsed(text: str) -> dict[str, Any]:
    """Returns a compose file's content."""
    content: dict[str, Any] = yaml.safe_load(text)
    return content


def same_in_both(service: dict[str, Any], storage: str) -> dict[str, Any]:
    """Returns of a service what a release may not change."""
    kept = {name: value for name, value in service.items() if name not in {"build", "image", "pull_policy", "profiles"}}
    kept["profiles"] = [name for name in service.get("profiles", []) if name != storage]
    binds = [re.sub(r":-[^}]*", "", volume["source"]) for volume in service.get("volumes", []) if "source" in volume]
    kept["volumes"] = [volume for volume in service.get("volumes", []) if "source" not in volume] + binds
    return kept


@pytest.mark.parametrize("storage", STORAGES)
def test_services_are_those_of_the_repository(storage: str) -> None:
    """Nothing but images, builds, files of the clone and the storage's profile differs."""
    here, released = parsed((ROOT / "compose.yaml").read_text()), parsed(release_compose(PREFIX, storage=storage))
    for content in (here, released):
        content["services"] = {name: same_in_both(one, storage) for name, one in content["services"].items()}
    assert released["services"] == here["services"]
    assert released["volumes"] == here["volumes"]
    included = "storage" if storage == "minio" else "storage-cloud"
    storage_network = parsed((ROOT / f"networks/{included}.yaml").read_text())["networks"]
    assert released["networks"] == {**here["networks"], **storage_network}


@pytest.mark.parametrize("storage", STORAGES)
def test_nothing_of_the_clone_is_needed(storage: str) -> None:
    content = parsed(release_compose(PREFIX, storage=storage, digests=DIGESTS))
    assert "include" not in content
    services = content["services"].values()
    assert [one["image"] for one in services if "build" in one] == []
    assert {one["pull_policy"] for one in services} == {"missing"}
    mounts = [volume for one in services for volume in one.get("volumes", [])]
    sources = {volume["source"] for volume in mounts if isinstance(volume, dict)}
    assert {re.sub(r".*:-(.*)}", r"\1", source) for source in sources} == {".", "/dev/null"}
    assert [volume for volume in mounts if isinstance(volume, str) and volume[0] in "./$"] == []


def test_every_image_is_named_by_its_digest() -> None:
    files = (release_compose(PREFIX, digests=DIGESTS), release_sso(PREFIX, digests=DIGESTS))
    named = {one["image"] for file in files for one in parsed(file)["services"].values() if "image" in one}
    expected = {f"${{IMAGE_PREFIX:-{PREFIX}}}-{name}:{version()}@{digest}" for name, digest in DIGESTS.items()}
    assert named == expected


def test_single_sign_on_is_an_addition() -> None:
    """Its file differs from the repository's by the image alone, and needs no clone."""
    here, released = parsed((ROOT / "compose.sso.yaml").read_text()), parsed(release_sso(PREFIX, digests=DIGESTS))
    before, after = here["services"].pop("sso"), released["services"].pop("sso")
    assert after["pull_policy"] == "missing"
    assert after["image"] == f"${{IMAGE_PREFIX:-{PREFIX}}}-sso:{version()}@{DIGESTS['sso']}"
    assert same_in_both(after, "minio") == same_in_both(before, "minio")
    assert released == here
    with pytest.raises(Refusal, match="there is no digest of the image sso"):
        release_sso(PREFIX, digests={})


@pytest.mark.process
def test_both_files_are_one_stack(tmp_path: Path) -> None:
    """Compose takes the two files of an empty folder, and knows no service that is to be built."""
    (tmp_path / "compose.yaml").write_text(release_compose(PREFIX))
    (tmp_path / "compose.sso.yaml").write_text(release_sso(PREFIX))
    settings = {"SSO_ISSUER": "https://login.example", "SSO_CLIENT_ID": "mlflow", "SSO_ROLES": "team=member"}
    command = ["docker", "compose", "--file", "compose.yaml", "--file", "compose.sso.yaml", "--profile", "https"]
    done = subprocess.run(
        [*command, "config", "--format", "json"],
        cwd=tmp_path,
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode and "unknown flag" in done.stderr:
        pytest.skip("docker compose is not there")
    services = json.loads(done.stdout)["services"]
    assert {"sso", "proxy", "mlflow"} <= set(services)
    assert [name for name, one in services.items() if "build" in one] == []


@pytest.mark.parametrize("digest", ["", "sha256:12", "latest"])
def test_missing_digest_is_refused(digest: str) -> None:
    with pytest.raises(Refusal, match="there is no digest of the image edge"):
        release_compose(PREFIX, digests={**DIGESTS, "edge": digest})


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("${DATA_DIR:-./data}", "${DATA_DIR:-./tables}", "nothing like"),
        ("x-labels: &labels", "x-label: &labels", "nothing like"),
        ("    stop_grace_period: 30s", "    env_file: settings", "compose.yaml needs a clone: env_file: settings"),
        ("PGHOST: ${POSTGRES_HOST:-postgres}", "PGHOST: ${HOST:-./postgres}", "needs a clone: PGHOST:"),
    ],
)
def test_unknown_compose_file_is_refused(tmp_path: Path, before: str, after: str, message: str) -> None:
    """A compose file that has come to need something else makes no release that lacks it."""
    text = (ROOT / "compose.yaml").read_text()
    assert before in text
    for name in ("services/trainer/pyproject.toml", "networks/storage.yaml"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text((ROOT / name).read_text())
    (tmp_path / "compose.yaml").write_text(text.replace(before, after))
    with pytest.raises(Refusal, match=message):
        compose_file.release_compose(PREFIX, root=tmp_path)


def release_files(*args: str | Path) -> subprocess.CompletedProcess[str]:
    """Runs the script."""
    command = [ROOT / "scripts/release-files", *args]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env={**os.environ})


@pytest.mark.process
def test_folder_has_files_digests_and_sums(tmp_path: Path) -> None:
    metadata = {name: {"containerimage.digest": digest} for name, digest in DIGESTS.items()}
    (tmp_path / "bake.json").write_text(json.dumps({**metadata, "buildx.build.warnings": []}))
    folder = tmp_path / "release"
    done = release_files("--owner", "SomeOne", "--digests", tmp_path / "bake.json", folder)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{folder}: version {version()}, images {PREFIX}-… by digest\n"
    assert (folder / "compose.yaml").read_text() == release_compose(PREFIX, digests=DIGESTS)
    assert (folder / "compose.gcs.yaml").read_text() == release_compose(PREFIX, storage="gcs", digests=DIGESTS)
    assert (folder / "compose.sso.yaml").read_text() == release_sso(PREFIX, digests=DIGESTS)
    sums = [line.split("  ") for line in (folder / "SHA256SUMS").read_text().splitlines()]
    assert {name for _, name in sums} >= {"compose.yaml", "LICENSE", "docs/operators/upgrades.md"}
    assert [name for digest, name in sums if hashlib.sha256((folder / name).read_bytes()).hexdigest() != digest] == []
    # Each link of its first page leads somewhere.
    links = re.findall(r"\]\(([^)]+)\)", (folder / "README.md").read_text())
    assert [link for link in links if not (folder / link).exists()] == []


@pytest.mark.process
@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("--owner", "a/b", "new"), "an owner is the name of a GitHub user or organisation (got: 'a/b')"),
        (("--owner", "a", "--digests", "none", "new"), "none cannot be read: No such file or directory"),
        (("--owner", "a", "--digests", __file__, "new"), f"{__file__} is not what docker buildx bake"),
        (("--owner", "a", str(ROOT)), f"{ROOT} is there already: name a new folder"),
        (("new",), "the following arguments are required: --owner"),
    ],
)
def test_wrong_use_writes_nothing(args: tuple[str, ...], message: str) -> None:
    done = release_files(*args)
    assert done.returncode != 0
    assert done.stderr.splitlines()[-1].startswith(f"release-files: error: {message}")
    assert not Path("new").exists()
