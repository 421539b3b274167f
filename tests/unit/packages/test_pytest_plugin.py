"""The pytest plugin in a project of its own, with a program in Docker's place."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from pytest_mlflow_stack.stack import environment

pytestmark = pytest.mark.process

ROOT = Path(__file__).parents[3]
PACKAGE = ROOT / "packages/pytest-mlflow-stack"
USES = "def test_one(mlflow_stack):\n    print(mlflow_stack.project)\n"
# A test that says when it runs, and goes on until it is ended.
WAITS = """
import pathlib, threading

def test_waits(mlflow_stack):
    pathlib.Path("runs").touch()
    threading.Event().wait(300)
"""


class Project:
    """A project whose tests use the fixture; `asked` is what they have asked of Docker."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "project"
        self.folder.mkdir()
        programs = folder / "programs"
        programs.mkdir()
        (programs / "docker").symlink_to(Path(__file__).with_name("fake_docker"))
        self.notes = folder / "asked"
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")},
            "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(PACKAGE / "src"),
            "ASKED": str(self.notes),
        }
        self.write("test_first.py", USES)
        self.write("pytest.ini", "[pytest]\n")

    def write(self, name: str, text: str) -> None:
        """Writes a file of the project."""
        (self.folder / name).write_text(text)

    def start(self, *options: str, **variables: str) -> subprocess.Popen[str]:
        """Starts the project's tests."""
        return subprocess.Popen(
            [
                sys.executable,
                "-m",
                "pytest",
                "-p",
                "pytest_mlflow_stack.plugin",
                "-s",
                "-p",
                "no:cacheprovider",
                *options,
            ],
            cwd=self.folder,
            env=self.environment | variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            # What a shell starts in the background ignores Ctrl-C.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            text=True,
        )

    def test(self, *options: str, **variables: str) -> tuple[int, str]:
        """Runs the project's tests; returns the exit code and what pytest says."""
        process = self.start(*options, **variables)
        said = process.communicate(timeout=120)[0]
        return process.returncode, said

    def asked(self, word: str) -> list[str]:
        """Returns the commands that have a word in them."""
        lines = self.notes.read_text().splitlines() if self.notes.exists() else []
        return [line for line in lines if f" {word} " in line]


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A project whose only test uses the fixture."""
    return Project(tmp_path)


def wait_until(condition: Callable[[], object]) -> None:
    """Polls until the condition holds; fails the test after a minute."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize(("scope", "stacks"), [("session", 1), ("module", 2)])
@pytest.mark.parametrize("given", ["option", "setting"])
def test_stack_has_the_scope(project: Project, scope: str, stacks: int, given: str) -> None:
    project.write("test_second.py", USES)
    options = ["--mlflow-stack-scope", scope]
    if given == "setting":
        project.write("pytest.ini", f"[pytest]\nmlflow_stack_scope = {scope}\n")
        options = []
    code, said = project.test(*options)
    assert code == 0, said
    used = set(re.findall(r"mlflow-stack-[0-9a-f]{8}", said))
    assert len(used) == stacks
    for word in ("up", "down"):
        assert {re.findall(r"--project-name (\S+)", line)[0] for line in project.asked(word)} == used
        assert len(project.asked(word)) == stacks


def test_fixture_says_where_all_is(project: Project) -> None:
    """Addresses and keys; a password is quoted in an address, and not shown."""
    project.write(
        "test_first.py",
        """
def test_one(mlflow_stack):
    bucket, database = mlflow_stack.bucket, mlflow_stack.database
    assert mlflow_stack.tracking_uri == "http://127.0.0.1:41"
    assert database.url == "postgresql://owner:p%2Fw@127.0.0.1:42/store"
    assert bucket.name == "shop"
    assert bucket.client_options == {
        "endpoint_url": "http://127.0.0.1:43",
        "aws_access_key_id": "key",
        "aws_secret_access_key": "secret",
        "region_name": "us-east-1",
    }
    assert "p/w" not in repr(mlflow_stack) and "secret'" not in repr(mlflow_stack)
""",
    )
    code, said = project.test("--mlflow-stack-setting", "BUCKET=shop")
    assert code == 0, said


@pytest.mark.parametrize(
    ("variables", "line"),
    [
        ({"UP_SAYS": "no", "NO_ENGINE": "1"}, "no Docker engine answers: no such socket"),
        ({"UP_SAYS": "no", "NO_COMPOSE": "1"}, "Docker has no Compose: install its plugin"),
        ({"UP_SAYS": "no", "NO_IMAGE": "1"}, "images are missing: gone:1; IMAGE_PREFIX and IMAGE_TAG name others (no)"),
        ({"UP_SAYS": "first\nlast"}, "the stack did not start: last"),
    ],
)
def test_what_is_missing_is_one_line(project: Project, variables: dict[str, str], line: str) -> None:
    """The reason, without a traceback; what has been started is removed."""
    code, said = project.test(**variables)
    assert code == 1
    assert f"\nmlflow_stack: {line}\n" in said
    assert "Traceback" not in said
    assert "stack.py" not in said
    assert len(project.asked("down")) == 1


def test_what_stays_is_told(project: Project) -> None:
    """A stack that cannot be removed fails the tests' end."""
    code, said = project.test(STAYS="1")
    assert code == 1
    assert "\nmlflow_stack: the stack could not be removed: it stays\n" in said
    assert "Traceback" not in said


def test_no_docker_is_one_line(project: Project, tmp_path: Path) -> None:
    code, said = project.test(PATH=str(tmp_path / "nothing"))
    assert code == 1
    assert "\nmlflow_stack: docker is not installed\n" in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("ini", "line"),
    [
        ("mlflow_stack_scope = class", "mlflow_stack_scope is session or module (got: 'class')"),
        ("mlflow_stack_settings = AUTH", "a setting of mlflow_stack is NAME=VALUE (got: 'AUTH')"),
    ],
)
def test_wrong_setting_is_refused(project: Project, ini: str, line: str) -> None:
    project.write("pytest.ini", f"[pytest]\n{ini}\n")
    code, said = project.test()
    assert (code, said.strip()) == (pytest.ExitCode.USAGE_ERROR, f"ERROR: {line}")


def test_missing_compose_file_is_one_line(project: Project) -> None:
    project.write("pytest.ini", "[pytest]\nmlflow_stack_compose_file = other.yaml\n")
    code, said = project.test()
    assert code == 1
    assert (
        f"mlflow_stack: there is no compose file {project.folder / 'other.yaml'} (mlflow_stack_compose_file)\n" in said
    )


def test_shell_does_not_change_the_stack(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the shell's variables that the compose file reads, only those of the images count."""
    for name in ("AUTH", "MLFLOW_PORT", "COMPOSE_FILE", "IMAGE_TAG", "OTHER"):
        monkeypatch.setenv(name, "shell")
    found = environment(ROOT / "compose.yaml", {"MLFLOW_WORKERS": "2"})
    assert {name: found.get(name) for name in ("AUTH", "COMPOSE_FILE", "IMAGE_TAG", "OTHER", "MLFLOW_WORKERS")} == {
        "AUTH": None,
        "COMPOSE_FILE": None,
        "IMAGE_TAG": "shell",
        "OTHER": "shell",
        "MLFLOW_WORKERS": "2",
    }
    assert found["MLFLOW_PORT"] == "0"


@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda kind: kind.name)
def test_stack_goes_when_tests_are_ended(project: Project, kind: signal.Signals) -> None:
    project.write("test_first.py", WAITS)
    with project.start() as process:
        wait_until((project.folder / "runs").exists)
        process.send_signal(kind)
        process.communicate(timeout=60)
    wait_until(lambda: project.asked("down"))
    assert len(project.asked("up")) == 1


@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGKILL], ids=lambda kind: kind.name)
def test_start_is_ended_with_the_tests(project: Project, kind: signal.Signals) -> None:
    """While the stack is coming up: its start ends, then what there is of it is removed."""
    with project.start(UP_HANGS="1") as process:
        wait_until(lambda: project.asked("up"))
        process.send_signal(kind)
        process.communicate(timeout=60)
    wait_until(lambda: project.asked("down"))


def test_plugin_has_the_version() -> None:
    """The package's version is the one of the stack."""
    package, trainer = (
        tomllib.loads((folder / "pyproject.toml").read_text())["project"]
        for folder in (PACKAGE, ROOT / "services/trainer")
    )
    assert package["version"] == trainer["version"]
    example = tomllib.loads((ROOT / "examples/pipeline/pyproject.toml").read_text())["project"]
    assert f"pytest-mlflow-stack=={package['version']}" in example["optional-dependencies"]["test"]
