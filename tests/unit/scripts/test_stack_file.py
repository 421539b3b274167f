"""The compose file of other projects' tests is a release's, whose images' tag can be set; what the Action refuses."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
from pathlib import Path

import pytest
import yaml
from releasing.compose_file import release_compose
from releasing.stack_file import stack_file
from releasing.version_facts import images, version

ROOT = Path(__file__).parents[3]
ACTION = ROOT / ".github/actions/stack"
DIGESTS = {name: f"sha256:{hashlib.sha256(name.encode()).hexdigest()}" for name in images() if name != "sso"}


@pytest.mark.parametrize("digests", [None, DIGESTS], ids=["version", "digests"])
def test_tag_stands_for_version_and_digest(digests: dict[str, str] | None) -> None:
    """Nothing but the images' names differs from the release's file."""
    found, released = (
        yaml.safe_load(text)
        for text in (
            stack_file("Some-One", digests),
            release_compose("ghcr.io/some-one/mlflow-replica", digests=digests),
        )
    )
    named = {one.pop("image") for one in found["services"].values()}
    for one in released["services"].values():
        del one["image"]
    assert found == released
    said = {name: f"@{digest}" for name, digest in DIGESTS.items()} if digests else dict.fromkeys(DIGESTS, "")
    assert named == {
        f"${{IMAGE_PREFIX:-ghcr.io/some-one/mlflow-replica}}-{name}:${{IMAGE_TAG:-{version()}{end}}}"
        for name, end in said.items()
    }


def test_action_passes_what_its_step_reads() -> None:
    """Its one step runs the script, by variables that the script reads, from inputs that are declared."""
    action = yaml.safe_load((ACTION / "action.yml").read_text())
    (step,) = action["runs"]["steps"]
    assert step["run"] == '"$GITHUB_ACTION_PATH/stack" "$COMMAND"'
    assert os.access(ACTION / "stack", os.X_OK)
    script = (ACTION / "stack").read_text()
    assert [name for name in step["env"] if f"${{{name}" not in script and name != "COMMAND"] == []
    assert set(re.findall(r"inputs\.([\w-]+)", str(step))) == set(action["inputs"])
    told = re.findall(rf"steps\.{step['id']}\.outputs\.([\w-]+)", str(action["outputs"]))
    assert told == ["tracking-uri"]
    assert f'echo "{told[0]}=' in script


@pytest.mark.process
@pytest.mark.parametrize(
    ("variables", "arguments", "line"),
    [
        ({}, ["start"], "stack: error: up or down, not: start"),
        (
            {"OWNER": "no owner"},
            ["up"],
            "error: an owner is the name of a GitHub user or organisation (got: 'no owner')",
        ),
        ({"SETTINGS": "AUTH on"}, ["up"], "stack: error: a setting is NAME=VALUE (got: AUTH on)"),
    ],
)
def test_action_refuses_in_one_line(tmp_path: Path, variables: dict[str, str], arguments: list[str], line: str) -> None:
    """Nothing is started, and nothing is said to the job's later steps."""
    given = {
        "GITHUB_ENV": str(tmp_path / "env"),
        "GITHUB_OUTPUT": str(tmp_path / "output"),
        "RUNNER_TEMP": str(tmp_path),
    }
    done = subprocess.run(
        [ACTION / "stack", *arguments],
        env={**os.environ, "OWNER": "some/repository", **given, **variables},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr.strip()) == (1, line)
    assert not (tmp_path / "env").exists()
