"""The fixture `mlflow_stack` and its options: what pytest loads by the package's entry point.

With pytest-xdist each worker has a stack of its own, so that no test sees another worker's runs.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest

from .access import MlflowStack
from .stack import Refusal, Wanted, running_stack

Scope = Literal["session", "module"]
SCOPES: tuple[Scope, ...] = ("session", "module")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds the options, each as a setting of the project and on the command line."""
    group = parser.getgroup("mlflow-stack", "the stack of the fixture mlflow_stack")
    group.addoption("--mlflow-stack-scope", choices=SCOPES, help="a stack for all tests, or one for each module")
    group.addoption("--mlflow-stack-compose-file", metavar="FILE", help="compose.yaml of a release or of a clone")
    group.addoption(
        "--mlflow-stack-setting",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        help="a variable of the compose file, such as IMAGE_TAG; again for another one",
    )
    parser.addini("mlflow_stack_scope", "a stack for all tests (session), or one for each module", default="session")
    parser.addini("mlflow_stack_compose_file", "compose.yaml of a release or of a clone", type="string", default="")
    parser.addini("mlflow_stack_settings", "variables of the compose file, NAME=VALUE, one a line", type="linelist")


def scope_of(config: pytest.Config) -> Scope:
    """Returns the fixture's scope; raises UsageError for one that there is not."""
    name = config.getoption("--mlflow-stack-scope") or config.getini("mlflow_stack_scope")
    for scope in SCOPES:
        if scope == name:
            return scope
    raise pytest.UsageError(f"mlflow_stack_scope is session or module (got: {name!r})")


def wanted_by(config: pytest.Config) -> Wanted:
    """Returns what the options say; raises UsageError for a setting that is none."""
    settings = {}
    for text in (*config.getini("mlflow_stack_settings"), *config.getoption("--mlflow-stack-setting")):
        name, sign, value = text.partition("=")
        if not sign or not name.isidentifier():
            raise pytest.UsageError(f"a setting of mlflow_stack is NAME=VALUE (got: {text!r})")
        settings[name] = value
    if file := config.getoption("--mlflow-stack-compose-file"):
        return Wanted(config.invocation_params.dir / file, settings)
    if file := config.getini("mlflow_stack_compose_file"):
        # In the project's settings a path is relative to the file that has them.
        return Wanted((config.inipath.parent if config.inipath else Path()) / file, settings)
    return Wanted(settings=settings)


def pytest_configure(config: pytest.Config) -> None:
    """Refuses wrong options before any test runs."""
    scope_of(config)
    wanted_by(config)


def fixture_scope(fixture_name: str, config: pytest.Config) -> Scope:  # noqa: ARG001 - pytest passes both
    """Returns the fixture's scope, which pytest asks for once."""
    return scope_of(config)


@pytest.fixture(scope=fixture_scope)
def mlflow_stack(pytestconfig: pytest.Config) -> Iterator[MlflowStack]:
    """An MLflow server with its PostgreSQL and its bucket, started for the tests and removed with all its data."""
    try:
        with running_stack(wanted_by(pytestconfig)) as stack:
            yield stack
    except Refusal as refusal:
        pytest.fail(f"mlflow_stack: {refusal}", pytrace=False)
