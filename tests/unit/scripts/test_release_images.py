"""The images of a release: what would be built is what the stack needs, for both platforms."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from releasing.version_facts import images, version

ROOT = Path(__file__).parents[3]
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yaml"))
RELEASE = (ROOT / ".github/workflows/release.yaml").read_text()


def release_images(*args: str | Path) -> subprocess.CompletedProcess[str]:
    """Runs the script."""
    command = [ROOT / "scripts/release-images", *args]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture(scope="module")
def targets() -> dict[str, Any]:
    """What would be built."""
    if subprocess.run(["docker", "buildx", "version"], capture_output=True, check=False).returncode:
        pytest.skip("docker buildx is not there")
    done = release_images("--owner", "SomeOne", "--source", "https://code.example/stack")
    assert done.returncode == 0, done.stderr
    content: dict[str, Any] = json.loads(done.stdout)["target"]
    return content


@pytest.mark.process
def test_every_image_is_built_for_both_platforms(targets: dict[str, Any]) -> None:
    assert sorted(targets) == images()
    for name, target in targets.items():
        assert target["platforms"] == ["linux/amd64", "linux/arm64"]
        # No tag before the scan and the signature.
        assert target["tags"] == [f"ghcr.io/someone/mlflow-replica-{name}"]
        (output,) = target["output"]
        assert sorted(output.split(",")) == ["name-canonical=true", "push-by-digest=true", "type=image"]
        assert target["attest"] == ["type=provenance,mode=max", "type=sbom"]
        assert target["labels"]["org.opencontainers.image.source"] == "https://code.example/stack"


@pytest.mark.process
def test_images_are_built_as_compose_builds_them(targets: dict[str, Any]) -> None:
    """Context, labels and arguments are those of the compose files; PostgreSQL's major version is the default."""
    files = [yaml.safe_load((ROOT / name).read_text()) for name in ("compose.yaml", "compose.sso.yaml")]
    seen = set()
    # What adds to a service has no image of its own.
    for service in [one for file in files for one in file["services"].values() if "image" in one]:
        name = re.findall(r"^\${IMAGE_PREFIX:-mlflow-replica}-(\w+)", service["image"])[0]
        build, target = service["build"], targets[name]
        assert target["context"] == build["context"]
        assert target["labels"].items() >= build["labels"].items()
        arguments = {key: value for key, value in build["args"].items() if key not in ("BASE_IMAGE", "POSTGRES_MAJOR")}
        assert target.get("args", {}) == arguments
        seen.add(name)
    assert seen == set(targets)


@pytest.mark.process
def test_published_images_are_listed_by_digest(tmp_path: Path) -> None:
    """The list is what gets scanned and signed: each image once, by its digest."""
    digests = {name: f"sha256:{number:064}" for number, name in enumerate(images())}
    file = tmp_path / "digests.json"
    file.write_text(json.dumps({name: {"containerimage.digest": one} for name, one in digests.items()}))
    done = release_images("--owner", "someone", "--list", file)
    expected = [f"ghcr.io/someone/mlflow-replica-{name}@{digest}" for name, digest in digests.items()]
    assert done.stdout.splitlines() == expected
    file.write_text(json.dumps({"edge": {"containerimage.digest": digests["edge"]}}))
    done = release_images("--owner", "someone", "--list", file)
    assert (done.returncode, done.stderr) == (1, "release-images: error: there is no digest of the image bucket\n")


REGISTRY = """#!/bin/bash
echo "$*" >>{folder}/asked
case $* in
    "buildx imagetools create"*) [ ! -e {folder}/refuse ] || {{ echo 'ERROR: denied' >&2; exit 1; }} ;;
    "buildx imagetools inspect"*) cat {folder}/answer ;;
esac
"""


@pytest.mark.process
def test_images_get_the_versions_tag(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each image, by its digest; a refusal, and a tag that leads elsewhere, end it in one line."""
    digest = f"sha256:{1:064}"
    file = tmp_path / "digests.json"
    file.write_text(json.dumps({name: {"containerimage.digest": digest} for name in images()}))
    (tmp_path / "docker").write_text(REGISTRY.format(folder=tmp_path))
    (tmp_path / "docker").chmod(0o755)
    (tmp_path / "answer").write_text(digest)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    done = release_images("--owner", "someone", "--publish", file)
    names = [f"ghcr.io/someone/mlflow-replica-{name}" for name in images()]
    assert (done.returncode, done.stdout.splitlines()) == (0, [f"{name}:{version()}@{digest}" for name in names])
    asked = [line for line in (tmp_path / "asked").read_text().splitlines() if "create" in line]
    assert asked == [f"buildx imagetools create --tag {name}:{version()} {name}@{digest}" for name in names]
    (tmp_path / "answer").write_text("sha256:other")
    done = release_images("--owner", "someone", "--publish", file)
    expected = f"release-images: error: {names[0]}:{version()} is sha256:other, not {digest}\n"
    assert (done.returncode, done.stderr) == (1, expected)
    (tmp_path / "refuse").touch()
    done = release_images("--owner", "someone", "--publish", file)
    assert (done.returncode, done.stderr) == (1, "release-images: error: ERROR: denied\n")


@pytest.mark.process
def test_tag_of_another_version_is_refused() -> None:
    done = release_images("--owner", "someone", "--tag", "v99.0.0")
    expected = f"release-images: error: the tag v99.0.0 is on files of version {version()}\n"
    assert (done.returncode, done.stderr) == (1, expected)


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_actions_are_pinned_by_commit(workflow: Path) -> None:
    used = re.findall(r"uses: (?!\./)(.+)", workflow.read_text())
    assert used
    assert [one for one in used if not re.fullmatch(r"[\w./-]+@[0-9a-f]{40}  # v[\d.]+", one)] == []


def test_workflow_signs_after_the_scan_and_the_tests() -> None:
    """No page before the signatures, no signature before the scan, nothing before the tests."""
    jobs = yaml.safe_load(RELEASE)["jobs"]
    assert (jobs["images"]["needs"], jobs["page"]["needs"]) == ("test", "images")
    steps = [step.get("name", step.get("uses")).split("@")[0] for step in jobs["images"]["steps"]]
    order = [
        "Build and push, with SBOM and provenance",
        "Scan for weaknesses that are high and have been fixed",
        "Sign",
        "Write the release's files",
        "Give the images the version's tag",
    ]
    assert [step for step in steps if step in order] == order
    # Nothing else gives a tag, by whichever way.
    texts = {step.get("name", ""): step.get("run", "") for step in jobs["images"]["steps"]}
    assert [name for name, text in texts.items() if re.search("--publish|imagetools|docker (push|tag)", text)] == [
        order[-1]
    ]
    assert jobs["images"]["permissions"] == {"contents": "read", "packages": "write", "id-token": "write"}
    assert jobs["page"]["permissions"] == {"contents": "write"}


@pytest.mark.process
def test_workflow_runs_scripts_that_are_there() -> None:
    """Each script of the workflow exists, and takes the options that it is given."""
    calls = re.findall(r"scripts/([\w-]+)(.*)", RELEASE)
    assert {name for name, _ in calls} >= {"release", "release-images", "release-files"}
    for name, rest in calls:
        help_text = subprocess.run(
            [ROOT / "scripts" / name, "--help"], capture_output=True, text=True, check=True
        ).stdout
        options = re.findall(r"--[a-z-]+", rest.partition("#")[0])
        assert [option for option in options if option not in help_text] == []
