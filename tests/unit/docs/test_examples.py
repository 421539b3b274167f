"""Each command in the documentation is one that there is: its program, its options, its files, services and profiles.

Nothing is started. Commands of other programs (git, curl, gcloud, …) are not looked at, but they have to be known here.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from trainer.cli import main

from .examples import ROOT, Command, commands

OTHERS = {
    "apt-get",
    "cd",
    "curl",
    "docker",
    "gcloud",
    "git",
    "gzip",
    "kedro",
    "mkdir",
    "node",
    "npm",
    "pip",
    "printf",
    "pytest",
    "python",
}
OTHERS |= {"rm", "chmod", "chown", "systemctl", "cosign"}
ALL = commands()


def named(program: str, *more: str) -> list[Any]:
    """Returns the commands that start with these words, each as a test's parameter."""
    return [pytest.param(one, id=str(one)) for one in ALL if one.words[: 1 + len(more)] == [program, *more]]


def scripts() -> list[Any]:
    """Returns the commands that are files of this repository."""
    return [pytest.param(one, id=str(one)) for one in ALL if "/" in one.words[0]]


# The trainer ----------------------------------------------------------------------------------------------------------


def trainer_arguments() -> list[Any]:
    """Returns what the trainer is called with, whether in its container or without one."""
    found = []
    for one in ALL:
        words = one.words[2:] if one.words[:2] == ["uv", "run"] else one.words
        if words[:2] == ["docker", "compose"] and "run" in words and "trainer" in words:
            words = words[words.index("trainer") :]
        # Without an option, the script is only named.
        if Path(words[0]).name == "verify" and len(words) > 1:
            words = ["trainer", *words]
        if words[0] == "trainer":
            found.append(
                pytest.param([Path(word).name if word.endswith("verify") else word for word in words[1:]], id=str(one))
            )
    return found


@pytest.mark.parametrize("arguments", trainer_arguments())
def test_trainers_options_are_its_own(arguments: list[str], tmp_path: Path) -> None:
    """The command line's own parser takes them; the command is not run."""
    group = main.command
    # This option's file is read at once.
    (tmp_path / "config.yaml").write_text("seed: 7\n")
    named = {place + 1 for place, word in enumerate(arguments) if word == "--config"}
    arguments = [str(tmp_path / "config.yaml") if place in named else word for place, word in enumerate(arguments)]
    # What --help ends with; every other refusal is another exception.
    with suppress(click.exceptions.Exit), group.make_context("trainer", list(arguments)) as context:
        name, command, rest = group.resolve_command(context, [*context._protected_args, *context.args])
        assert command is not None
        command.make_context(name, rest, parent=context).close()


# Compose --------------------------------------------------------------------------------------------------------------


@cache
def content(files: tuple[str, ...]) -> dict[str, Any]:
    """Returns the services of these compose files."""
    services: dict[str, Any] = {}
    for name in files:
        # Compose's own tags (!reset, !override) say how files are merged, and not which services there are.
        text = re.sub(r" !(reset|override)\b", "", (ROOT / name).read_text())
        for service, told in yaml.safe_load(text)["services"].items():
            services.setdefault(service, {}).update(told)
    return services


def divided(one: Command) -> tuple[dict[str, list[str]], str, list[str]]:
    """Returns a command's options before the subcommand, the subcommand, and the words after it."""
    given: dict[str, list[str]] = {"file": [], "profile": [], "env-file": [], "project-name": []}
    words = one.words[2:]
    short = {"-f": "file"}
    while words[0].startswith("-"):
        given[short.get(words[0], words[0].removeprefix("--"))].append(words[1])
        words = words[2:]
    return given, words[0], words[1:]


@cache
def options_of(subcommand: str) -> dict[str, bool]:
    """Returns the options of Compose's subcommand, each with whether a value follows it; none without Compose."""
    if shutil.which("docker") is None:
        pytest.skip("no docker here")
    done = subprocess.run(["docker", "compose", subcommand, "--help"], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip("no docker compose here")
    found: dict[str, bool] = {}
    for short, long, value in re.findall(
        r"^ +(?:(-\w), )?(--[\w-]+)(?: (string\w*|int|list|scale)\b)?", done.stdout, re.MULTILINE
    ):
        found |= {long: bool(value)} | ({short: bool(value)} if short else {})
    return found


@pytest.mark.parametrize("one", named("docker", "compose"))
def test_compose_command_names_what_there_is(one: Command) -> None:
    """Files, profiles, the subcommand's options, and the services."""
    given, subcommand, words = divided(one)
    files = tuple(given["file"] or one.variables.get("COMPOSE_FILE", "compose.yaml").split(":"))
    services = content(files)
    profiles = {name for told in services.values() for name in told.get("profiles", [])}
    asked = [name for names in given["profile"] for name in names.split(",")]
    asked += [name for name in one.variables.get("COMPOSE_PROFILES", "").split(",") if name]
    assert set(asked) - profiles - {"*"} == set()
    options = options_of(subcommand)
    while words and words[0].startswith("-"):
        assert words[0] in options, words[0]
        words = words[2:] if options[words[0]] else words[1:]
    # What follows the service is another program's, where one is run.
    names = words[:1] if subcommand in ("run", "exec") else words
    if subcommand == "cp":
        names = [place for place, path, _ in (word.partition(":") for word in words) if path]
    assert set(names) - set(services) == set()
    assert names or subcommand not in ("run", "exec")


@pytest.mark.process
def test_compose_files_of_examples_are_valid() -> None:
    """Each combination of files and profiles that the documentation names, as Compose reads it."""
    options_of("config")
    seen = {
        (tuple(given["file"]), tuple(given["profile"]))
        for given, _, _ in map(divided, (one.values[0] for one in named("docker", "compose")))
    }
    given = {
        "CLIENT_KEY_FILE": "/dev/null",
        "DATA_KEY_FILE": "/dev/null",
        "POSTGRES_HOST": "database.example",
        "POSTGRES_CA_FILE": "/dev/null",
    }
    given |= {
        "CLUSTER_SCHEDULER": "tls://host:8786",
        "CLUSTER_CERTIFICATES": ".",
        "WORKER_TRACKING_URI": "https://host",
    }
    for files, profiles in sorted(seen):
        command = [
            "docker",
            "compose",
            *(f"--file={name}" for name in files),
            *(f"--profile={name}" for name in profiles),
        ]
        done = subprocess.run(
            [*command, "config", "--quiet"],
            cwd=ROOT,
            env=os.environ | given,
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, ""), command


# Scripts, and the rest ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("one", scripts())
def test_script_and_its_options_exist(one: Command) -> None:
    file = ROOT / one.words[0]
    assert file.is_file()
    options = [word for word in one.words[1:] if word.startswith("--")]
    if not options or file.name == "verify":
        # verify's are the trainer's, which have a test of their own.
        return
    done = subprocess.run([file, "--help"], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0
    assert [option for option in options if option not in done.stdout] == []


def test_programs_are_known() -> None:
    """A misspelt program is no other one."""
    ours = {"trainer", "uv"}
    assert {one.words[0] for one in ALL if "/" not in one.words[0]} - OTHERS - ours == set()


def test_there_are_examples_of_each_kind() -> None:
    assert min(len(named("docker", "compose")), len(scripts()), len(trainer_arguments())) > 20
