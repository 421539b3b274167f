"""Upgrades to a higher version: a clone of these files that has one, and a stack that can be taken there."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import docker

from .stack import ROOT, Stack
from .test_version import VERSION

NEXT = "99.0.0"


def git(folder: Path, *args: str) -> str:
    """Runs git in a folder, as someone."""
    someone = ["-c", "user.name=Someone", "-c", "user.email=someone@example.com"]
    return subprocess.run(["git", *someone, *args], cwd=folder, check=True, capture_output=True, text=True).stdout


def make_clone(files: Iterable[Path], folder: Path, version: str) -> None:
    """Makes a clone on the branch `main`, with the tag of a version whose files differ by that alone.

    Args:
        files: The repository's files that it has; those that are not there are left out.
        folder: Where to.
        version: The higher version.
    """
    for file in files:
        if file.is_file():
            target = folder / file.relative_to(ROOT)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, target)
    git(folder, "init", "--quiet", "--initial-branch", "main")
    git(folder, "add", "--all", "--force")
    git(folder, "commit", "--quiet", "--message", "These files")
    git(folder, "checkout", "--quiet", "-b", "next")
    for name in ("compose.yaml", "services/trainer/pyproject.toml"):
        text = (folder / name).read_text()
        changed = re.sub(rf'^(.*version.*)"{re.escape(VERSION)}"$', rf'\1"{version}"', text, flags=re.M)
        assert changed != text
        (folder / name).write_text(changed)
    log = (folder / "CHANGELOG.md").read_text()
    new = f"## {version}\n\n- A change.\n\n## {VERSION}"
    (folder / "CHANGELOG.md").write_text(log.replace(f"## {VERSION}", new, 1))
    git(folder, "commit", "--quiet", "--all", "--message", "The next version")
    git(folder, "tag", f"v{version}")
    git(folder, "checkout", "--quiet", "main")


@contextmanager
def own_images(stack: Stack) -> Iterator[None]:
    """Gives a stack, which is not up yet, image names of its own: an upgrade builds some of them anew."""
    engine = docker.from_env()
    own = stack.project
    try:
        for image in engine.images.list():
            for name in image.tags:
                repository, _, tag = name.rpartition(":")
                if tag == stack.environment["IMAGE_TAG"] and repository.startswith("mlflow-replica-"):
                    image.tag(repository, own)
        stack.environment["IMAGE_TAG"] = own
        yield
    finally:
        stack.remove()
        for image in engine.images.list():
            for name in image.tags:
                if name.rpartition(":")[2].startswith(own):
                    engine.images.remove(name, force=True)
        # Those that --back has taken the name from.
        label = f"org.opencontainers.image.version={NEXT}"
        engine.images.prune(filters={"dangling": True, "label": label})


def upgrade(clone: Path, stack: Stack, *args: str, kill_at: str = "", token: str = "") -> tuple[int, str]:
    """Runs the clone's script on the stack; kills it with all that it has started once it says what `kill_at` matches.

    Returns:
        The exit code, and all that it has said.
    """
    settings = stack.settings | {"COMPOSE_FILE": stack.settings["COMPOSE_FILE"].replace(str(ROOT), str(clone))}
    command = [str(clone / "scripts/upgrade"), *args]
    said = ""
    with subprocess.Popen(
        command,
        env={**os.environ, **settings, **({"MLFLOW_TRACKING_TOKEN": token} if token else {})},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            said += line
            if kill_at and re.match(f"==> ({kill_at})", line):
                os.killpg(process.pid, signal.SIGKILL)
                break
        else:
            assert not kill_at, f"it never said {kill_at!r}:\n{said}"
    return process.returncode, said


def versions(stack: Stack) -> set[str]:
    """Returns the versions that the server, its image and the database say."""
    image = stack.container("mlflow").labels["org.opencontainers.image.version"]
    said = stack.exec("mlflow", "replica-server", "version").split()[1].rstrip(",")
    ((recorded,),) = stack.sql("SELECT version FROM replica.stack")
    return {image, said, recorded}
