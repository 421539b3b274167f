"""Checks that a running MLflow stack does what this replica does, as seen by a client that knows only its address.

What is checked is in ``checks``; here the checks are made, and what they made is removed again, whatever happened.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote, urlsplit

from trainer.tracking.connection import wait_for_server
from trainer.tracking.settings import limits
from trainer.tracking.uris import without_credentials
from trainer.util.environment import environment
from trainer.util.errors import InputError, TrackingError, TrainerError
from trainer.util.signals import ignore_signals
from trainer.util.text import one_line
from trainer.verification.checks import CHECKS
from trainer.verification.checks.check import Check
from trainer.verification.checks.server import MLFLOW
from trainer.verification.stack import ARTIFACTS, MIB, PROXIED, Difference, Stack, Stricter, stored

T = TypeVar("T")

SAME, DIFFERENT, FAILED, SKIPPED = "as the replica", "differs", "failed", "not checked"
#: MLflow's own server does so, where the replica's is stricter.
REMARK = "remark"
REMOVAL = "removed again"
#: What a client would use to reach a bucket by itself.
CREDENTIALS = ("AWS_", "GOOGLE_", "CLOUDSDK_", "AZURE_", "STORAGE_EMULATOR_HOST", "MLFLOW_S3_", "MLFLOW_GCS_")


class ConformanceError(TrainerError):
    """At least one check found a difference, or could not be made."""


@dataclass(frozen=True)
class Finding:
    """What one check found: SAME, REMARK, DIFFERENT, FAILED or SKIPPED, and in words what that means here."""

    check: str
    outcome: str
    detail: str

    @property
    def same(self) -> bool:
        """Whether the replica does that too."""
        return self.outcome == SAME

    @property
    def passed(self) -> bool:
        """Whether the replica, or MLflow's own server, does that too."""
        return self.outcome in (SAME, REMARK)


@dataclass
class Report:
    """All findings so far, and what could not be removed again."""

    tracking_uri: str = ""
    experiment: str = ""
    findings: list[Finding] = field(default_factory=list)
    left: list[str] = field(default_factory=list)

    @property
    def conforms(self) -> bool:
        """Whether every check was made, and found what the replica or MLflow's own server does."""
        return bool(self.findings) and all(finding.passed for finding in self.findings)

    def content(self) -> dict[str, Any]:
        """Return the report as plain values."""
        content = asdict(self)
        return {
            "checks": content.pop("findings"),
            **content,
            "conforms": self.conforms,
            "expected_mlflow": MLFLOW,
        }


@contextmanager
def no_bucket_credentials() -> Iterator[None]:
    """Take away whatever would let this process reach a bucket by itself."""
    taken = {name: None for name in os.environ if name.startswith(CREDENTIALS)}
    replaced = {
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        "CLOUDSDK_CONFIG": os.devnull,
        "NO_GCE_CHECK": "true",
    }
    with environment({**taken, **replaced}):
        yield


def verify(report: Report, uri: str, *, wait: float, large_mib: int, on_finding: Callable[[Finding], None]) -> None:
    """Make all checks, and remove what they made, also after an interruption.

    Args:
        report: What to add the findings to; complete as far as it goes whatever is raised.
        uri: The tracking server's address.
        wait: How many seconds to wait for a server that cannot be reached.
        large_mib: The large artifact's size in MiB.
        on_finding: Called after each check.

    Raises:
        InputError: ``uri`` is no server's address, or the server does not answer or does not admit this client.
    """
    if not uri.startswith(("http://", "https://")) or not urlsplit(uri).hostname:
        shown = without_credentials(uri)
        raise InputError(f"{shown!r} is no tracking server's address; it starts with http:// or https://")
    report.tracking_uri = without_credentials(uri)

    def found(finding: Finding) -> None:
        report.findings.append(finding)
        on_finding(finding)

    with no_bucket_credentials(), tempfile.TemporaryDirectory(prefix="trainer-verify-") as folder:
        try:
            client = wait_for_server(uri, wait)
        except TrackingError as error:
            raise InputError(str(error)) from error
        stack = Stack(uri, client, Path(folder), large_mib)
        report.experiment = stack.name
        try:
            with limits(retries=1):
                for one in CHECKS:
                    found(_make(one, stack, report.findings))
        finally:
            with ignore_signals(), limits(retries=2, timeout=20):
                found(_remove(stack, report))


def _make(one: Check, stack: Stack, before: list[Finding]) -> Finding:
    good = {finding.check for finding in before if finding.passed}
    if lacking := [name for name in one.needs if name not in good]:
        return Finding(one.name, SKIPPED, f"has no meaning without: {', '.join(lacking)}")
    try:
        return Finding(one.name, SAME, one.run(stack))
    except Stricter as difference:
        # The replica's own server has to be as strict as it is.
        outcome = DIFFERENT if stack.has_replica_server else REMARK
        return Finding(one.name, outcome, one_line(str(difference), 300))
    except Difference as difference:
        return Finding(one.name, DIFFERENT, one_line(str(difference), 300))
    except Exception as error:  # noqa: BLE001 - whatever the stack makes MLflow's client raise is a finding
        return Finding(one.name, FAILED, one_line(error, 300))


def _remove(stack: Stack, report: Report) -> Finding:
    """Remove what the checks made, and list what cannot be removed."""
    problems: list[str] = []

    def attempt(what: str, act: Callable[[], T]) -> T | None:
        try:
            return act()
        except Exception as error:  # noqa: BLE001 - the rest is removed all the same
            problems.append(f"{what}: {one_line(error, 200)}")
            return None

    client = stack.client
    attempt(f"registered model {stack.name}", lambda: _remove_registered_model(stack))
    # Looked for by its name: an interruption may have come between its creation and the reply.
    experiment = attempt(f"experiment {stack.name}", lambda: client.get_experiment_by_name(stack.name))
    if experiment is not None and experiment.lifecycle_stage == "active":
        places = attempt("artifacts", lambda: _places(stack, experiment.experiment_id)) or {}
        for location, own_id in places.items():
            attempt(f"artifacts at {location}", lambda at=location, own=own_id: _remove_files(stack, at, own))  # type: ignore[misc]
        files = [size for location in places for size in attempt(location, lambda at=location: _sizes(at, stack)) or ()]  # type: ignore[misc]
        if files:
            where = stored(experiment.artifact_location)
            report.left.append(
                f"{len(files)} objects, {sum(files) / MIB:.1f} MiB, below {where}/ in the artifact store:"
                " the server's identity may not delete them; garbage collection removes them"
            )
        for logged in attempt("models", lambda: client.search_logged_models([experiment.experiment_id])) or ():
            attempt(f"model {logged.model_id}", lambda of=logged: client.delete_logged_model(of.model_id))  # type: ignore[misc]
        attempt(f"experiment {stack.name}", lambda: client.delete_experiment(experiment.experiment_id))
        report.left.append(
            f"rows of experiment {stack.name} ({experiment.experiment_id}), marked as deleted;"
            " garbage collection removes them"
        )
    report.left.extend(problems)
    if problems:
        return Finding(REMOVAL, FAILED, one_line("; ".join(problems), 300))
    return Finding(REMOVAL, SAME, "neither the experiment nor the registered model is left")


def _remove_registered_model(stack: Stack) -> None:
    if any(found.name == stack.name for found in stack.client.search_registered_models(f"name = '{stack.name}'")):
        stack.client.delete_registered_model(stack.name)


def _places(stack: Stack, experiment_id: str) -> dict[str, str]:
    """Return the proxied locations of the experiment's runs and models, each with the id that it must contain."""
    runs = {run.info.artifact_uri: run.info.run_id for run in stack.client.search_runs([experiment_id])}
    models = {one.artifact_location: one.model_id for one in stack.client.search_logged_models([experiment_id])}
    return {where: own for where, own in {**runs, **models}.items() if urlsplit(where).scheme == PROXIED}


def _remove_files(stack: Stack, location: str, own_id: str) -> None:
    path = stored(location)
    # Nothing but what is this run's or model's own.
    if own_id in path.split("/"):
        # A refusal is no problem: what is left is looked at, whatever the answer.
        stack.ask("DELETE", f"{ARTIFACTS}/{quote(path)}")


def _sizes(location: str, stack: Stack) -> list[int]:
    """Return the sizes of the files below a location, in bytes."""
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    repository = get_artifact_repository(location, tracking_uri=stack.uri)
    sizes, folders = [], [""]
    while folders:
        for entry in repository.list_artifacts(folders.pop() or None):
            if entry.is_dir:
                folders.append(entry.path)
            else:
                sizes.append(int(entry.file_size or 0))
    return sizes
