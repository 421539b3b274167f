"""The stack fits a g1-small, Google's VM of 1.7 GB and half a core."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from .resource_budget import budget
from .stack import STORAGE, Stack

# MiB. What the machine has, less what Debian, the engine and its containers' shims take.
MACHINE, SYSTEM = 1740, 340
CORES = 0.5
# What production runs on the VM. There the storage is Google's, and training happens on other machines.
SERVERS = ("postgres", "mlflow", "edge")
ONE_SHOTS = ("secrets", "migrate", *(["preflight"] if STORAGE == "gcs" else []))


@pytest.mark.gcs  # the limits are those of the gcs profile
def test_limits_fit_the_machine(images: None, tmp_path: Path) -> None:
    config = Stack(tmp_path).compose("--profile", "gcs", "--profile", "https", "config", "--format", "json").stdout
    services = json.loads(config)["services"]
    limits = {name: int(services[name]["mem_limit"]) >> 20 for name in (*SERVERS, "proxy", *ONE_SHOTS)}
    # Secrets is over before any other starts. The other two may run side by side, and beside servers that are up.
    together = {name: limit for name, limit in limits.items() if name != "secrets"}
    assert sum(together.values()) <= MACHINE - SYSTEM, limits


def test_stack_and_a_sweeps_logging_fit_the_machine(
    new_stack: Any, docker_info: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    with budget(docker_info["CgroupDriver"], MACHINE - SYSTEM, CORES) as machine:
        services = {name: {"cgroup_parent": f"/{machine.name}"} for name in (*SERVERS, *ONE_SHOTS)}
        with new_stack(override={"services": services}) as stack:
            begin = time.monotonic()
            stack.up()
            started = time.monotonic()
            idle = machine.processes
            sweep = stack.train("sweep")
            ended = time.monotonic()
            figures = (
                f"\n{MACHINE - SYSTEM} MiB and {CORES:g} core, {STORAGE}: start {started - begin:.1f} s, standard sweep"
                f" {ended - started:.1f} s; processes {idle:.0f} MiB idle, {machine.processes:.0f} MiB after the sweep;"
                f" peak with page cache {machine.peak:.0f} MiB; {machine.throttled:.1f} s waited for the processor"
            )
            # In each run, not only in one that fails: the documentation refers to them.
            with capsys.disabled():
                print(figures)
            assert {run["status"] for run in sweep["variants"]} == {"FINISHED"}
            assert machine.killed == 0
            assert machine.throttled > 0, "the containers were not in the budget"
            assert {name: stack.container(name).attrs["RestartCount"] for name in SERVERS} == dict.fromkeys(SERVERS, 0)
            assert {name: stack.health(name) for name in SERVERS} == dict.fromkeys(SERVERS, "healthy")
