"""Where the images come from, and go to: a registry that has the version, a bundle, or a build; and why."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from releasing.docker_engine import docker
from releasing.version_facts import Refusal, version

pytestmark = pytest.mark.process

ROOT = Path(__file__).parents[3]
VERSION = version()
LOCAL = {name: f"mlflow-replica-{name}:local" for name in ("edge", "trainer")}
REGISTRY = "registry.example/mlflow-replica"
BUILDING = "==> building the images, not pulling them: "


class Folder:
    """A copy of the repository's files, tagged as its version, beside a docker that is none."""

    def __init__(self, path: Path) -> None:
        self.path = path
        for name in ("scripts", "networks", "docs"):
            shutil.copytree(ROOT / name, path / name, ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("services/trainer/pyproject.toml", "compose.yaml", "compose.sso.yaml", "CHANGELOG.md", "LICENSE"):
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, path / name)
        (path / ".gitignore").write_text("__pycache__/\n/work/\n")
        self.work = path / "work"
        self.work.mkdir()
        shutil.copy(Path(__file__).with_name("fake_docker"), self.work / "docker")
        services: dict[str, object] = {name: {"image": image, "build": {}} for name, image in LOCAL.items()}
        services["postgres"] = {"image": "postgres:17"}
        (self.work / "config.json").write_text(json.dumps({"services": services}))
        self.has("images")
        self.has("registry")
        self.git("init", "--quiet")
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", "All")
        self.git("tag", f"v{VERSION}")

    def git(self, *args: str) -> None:
        """Runs git in the folder, as someone."""
        someone = ["-c", "user.name=Someone", "-c", "user.email=someone@example.com"]
        subprocess.run(["git", *someone, *args], cwd=self.path, check=True, capture_output=True)

    def has(self, place: str, *names: str, said: str = VERSION) -> None:
        """Notes the images of a place: those that are here, or the registry's."""
        (self.work / place).write_text("".join(f"{name} id-{name.rpartition('-')[2]} {said}\n" for name in names))

    def images(self) -> dict[str, str]:
        """Returns the identifier of each image that is here."""
        return {line.split()[0]: line.split()[1] for line in (self.work / "images").read_text().splitlines()}

    def asked(self, what: str) -> list[str]:
        """Returns what docker was asked that begins so."""
        return [line for line in (self.work / "asked").read_text().splitlines() if line.startswith(what)]

    def run(self, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Runs a script of the folder, or a module of its scripts."""
        own = {
            "PATH": f"{self.work}:{os.environ['PATH']}",
            "WORK": str(self.work),
            "PYTHONPATH": str(self.path / "scripts"),
        }
        kept = {name: value for name, value in os.environ.items() if name not in {"IMAGES_FROM", "COMPOSE_ENV_FILES"}}
        return subprocess.run(
            command,
            cwd=self.path,
            env={**kept, **own, **environment},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def pull(self, **environment: str) -> tuple[int, str]:
        """Returns what scripts/ensure-images does before it builds: the exit code, and what is said."""
        done = self.run("python3", "-m", "releasing.pull", **{"IMAGES_FROM": REGISTRY, **environment})
        return done.returncode, done.stderr


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def test_release_is_pulled_once(folder: Folder) -> None:
    folder.has("registry", *(f"{REGISTRY}-{name}:{VERSION}" for name in LOCAL))
    code, said = folder.pull()
    assert (code, said.splitlines()) == (
        0,
        [
            f"==> pulling version {VERSION} from registry.example",
            f"==> the images are those that {REGISTRY}-… has of version {VERSION}",
        ],
    )
    assert {image: folder.images().get(image) for image in LOCAL.values()} == {
        LOCAL[name]: f"id-{name}:{VERSION}" for name in LOCAL
    }
    code, said = folder.pull()
    assert (code, said.count("pulling")) == (0, 0)
    assert len(folder.asked("pull")) == 2


def test_registry_without_the_version_is_said(folder: Folder) -> None:
    expected = f"{BUILDING}no such manifest: {REGISTRY}-edge:{VERSION}\n"
    assert folder.pull() == (3, expected)
    assert folder.asked("pull") == []


def test_image_that_lacks_makes_all_be_built(folder: Folder) -> None:
    """No stack of images from two places."""
    folder.has("registry", f"{REGISTRY}-edge:{VERSION}")
    code, said = folder.pull()
    assert (code, said.splitlines()[-1].startswith(BUILDING)) == (3, True)
    assert folder.asked("tag") == []


def test_image_with_another_label_is_not_used(folder: Folder) -> None:
    folder.has("registry", *(f"{REGISTRY}-{name}:{VERSION}" for name in LOCAL), said="9.9.9")
    code, said = folder.pull()
    assert (code, said.splitlines()[-1]) == (3, f"{BUILDING}{REGISTRY}-edge:{VERSION} is labelled with version 9.9.9")
    assert folder.asked("tag") == []


def change_a_file(folder: Folder) -> None:
    (folder.path / "compose.yaml").open("a").write("# mine\n")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (change_a_file, f"files differ from the tag v{VERSION}"),
        (lambda one: one.git("tag", "--delete", f"v{VERSION}"), f"the files are not those of the tag v{VERSION}"),
    ],
)
def test_other_files_are_built_unasked(folder: Folder, change: Callable[[Folder], None], reason: str) -> None:
    """A registry's images are those of the tag: other files are built, and no registry is asked."""
    change(folder)
    assert folder.pull() == (3, f"{BUILDING}{reason}\n")
    assert folder.asked("manifest") == []


@pytest.mark.parametrize(
    ("origin", "reason"),
    [
        ("https://github.com/SomeOne/stack.git", f"no such manifest: ghcr.io/someone/mlflow-replica-edge:{VERSION}"),
        ("git@github.com:SomeOne/stack", f"no such manifest: ghcr.io/someone/mlflow-replica-edge:{VERSION}"),
        ("https://git.example/someone/stack", "no registry is known (IMAGES_FROM, or a clone from GitHub)"),
    ],
)
def test_registry_is_that_of_the_clones_origin(folder: Folder, origin: str, reason: str) -> None:
    folder.git("remote", "add", "origin", origin)
    assert folder.pull(IMAGES_FROM="") == (3, f"{BUILDING}{reason}\n")


def test_command_that_hangs_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A registry that takes the connection and says nothing."""
    (tmp_path / "docker").write_text("#!/bin/bash\nexec sleep 600\n")
    (tmp_path / "docker").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(Refusal, match=r"^docker manifest has not ended after 0\.2 s$"):
        docker("manifest", "inspect", "image", seconds=0.2)


# Bundles --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def bundle(folder: Folder) -> Path:
    """A bundle, on a machine that has nothing of it yet."""
    folder.has("images", *LOCAL.values())
    done = folder.run("scripts/bundle", "work/bundle.tar.gz")
    assert done.returncode == 0, done.stderr
    # The names that it needed are gone.
    assert set(folder.images()) == set(LOCAL.values())
    folder.has("images")
    return folder.work / "bundle.tar.gz"


def load(folder: Folder, file: Path, **environment: str) -> str:
    """Returns the one line of a load that is refused; nothing of the images is there then."""
    done = folder.run("scripts/bundle", "--load", str(file), **environment)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1), done.stderr
    assert folder.images() == {}
    return done.stderr.removeprefix("bundle: error: ").strip()


def test_bundle_brings_the_images(folder: Folder, bundle: Path) -> None:
    done = folder.run("scripts/bundle", "--load", str(bundle))
    assert (done.returncode, done.stderr) == (0, f"==> loaded version {VERSION} from {bundle}\n")
    assert {folder.images()[image] for image in LOCAL.values()} == {"id-edge:local", "id-trainer:local"}
    # From now on these are the images of this folder.
    said = f"==> the images are those of the bundle of version {VERSION} that was loaded\n"
    assert folder.pull() == (0, said)


def test_bundle_has_compose_file_and_documents(bundle: Path) -> None:
    with tarfile.open(bundle) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
        compose = archive.extractfile(f"mlflow-replica-{VERSION}/compose.yaml")
        assert compose
        text = compose.read().decode()
    assert names >= {"compose.yaml", "README.md", "LICENSE", "docs/operators/releases.md", "images.tar", "SHA256SUMS"}
    assert f"${{IMAGE_PREFIX:-mlflow-replica}}-edge:{VERSION}\n" in text
    assert "pull_policy: never" in text


def rewritten(file: Path, change: Callable[[str, bytes], bytes | None]) -> None:
    """Writes an archive anew, with each file's content changed, or without it."""
    with tarfile.open(file) as archive:
        members = [(one.name, stream.read()) for one in archive if (stream := archive.extractfile(one))]
    with tarfile.open(file, "w:gz") as archive:
        for name, content in members:
            if (new := change(name.partition("/")[2], content)) is not None:
                member = tarfile.TarInfo(name)
                member.size = len(new)
                archive.addfile(member, io.BytesIO(new))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda name, old: old + b"x" if name == "images.tar" else old, "images.tar is not what was written"),
        (lambda name, old: None if name == "images.tar" else old, "is no bundle, or not whole: images.tar is missing"),
        (lambda name, old: None if name == "SHA256SUMS" else old, "bundle.json is not what was written"),
        (lambda _name, _old: None, "is no bundle, or not whole"),
    ],
)
def test_altered_bundle_is_refused(
    folder: Folder, bundle: Path, change: Callable[[str, bytes], bytes | None], message: str
) -> None:
    rewritten(bundle, change)
    assert message in load(folder, bundle)


@pytest.mark.parametrize("kept", [0, 1, 100, 0.5, 0.99])
def test_cut_bundle_is_refused(folder: Folder, bundle: Path, kept: float) -> None:
    content = bundle.read_bytes()
    bundle.write_bytes(content[: int(kept if kept >= 1 else kept * len(content))])
    assert load(folder, bundle).startswith(f"{bundle} is no bundle, or not whole")


def test_bundle_of_another_kind_is_refused(folder: Folder, bundle: Path) -> None:
    assert load(folder, bundle, PLATFORM="linux/arm64").endswith("is for linux/amd64, and Docker here is linux/arm64")
    services = json.loads((folder.work / "config.json").read_text())
    services["services"]["proxy"] = {"image": "mlflow-replica-proxy:local", "build": {}}
    (folder.work / "config.json").write_text(json.dumps(services))
    assert "has no image proxy, which the profile that is set here needs" in load(folder, bundle, SERVICES="edge proxy")
    project = folder.path / "services/trainer/pyproject.toml"
    project.write_text(project.read_text().replace(f'version = "{VERSION}"', 'version = "9.9.9"'))
    assert f"is of version {VERSION}, and these files are 9.9.9" in load(folder, bundle)


def test_missing_or_older_image_writes_nothing(folder: Folder) -> None:
    done = folder.run("scripts/bundle", "work/new.tar")
    expected = "bundle: error: mlflow-replica-edge:local is not here: scripts/up builds or pulls it\n"
    assert (done.returncode, done.stderr) == (1, expected)
    folder.has("images", *LOCAL.values(), said="0.0.1")
    done = folder.run("scripts/bundle", "work/new.tar")
    assert done.stderr.startswith("bundle: error: mlflow-replica-edge:local is of version 0.0.1, and these files are")
    assert set(folder.images()) == set(LOCAL.values())
    assert {path.name for path in folder.work.iterdir()} == {"asked", "config.json", "docker", "images", "registry"}


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("LICENSE",), "is there already: name another"),
        (("none/a.tar",), "there is no folder "),
        (("--profile", "none"), "there is no profile none"),
        (("--load", "LICENSE"), "is no bundle, or not whole"),
        (("--load", "none.tar"), "No such file or directory"),
        (("--load",), "--load takes the file of a bundle"),
    ],
)
def test_wrong_use_of_bundle_is_one_line(folder: Folder, args: tuple[str, ...], message: str) -> None:
    folder.has("images", *LOCAL.values())
    done = folder.run("scripts/bundle", *args)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1), done.stderr
    assert message in done.stderr
    assert not list(folder.path.glob("*.tar*"))
