"""What the cluster costs, and what it gains: one table of ratios.

    scripts/benchmark --cluster [--megabytes 1024] [--rounds 3] [--only PART]

The parts overhead, efficiency and transfer start a scheduler and workers as processes of this machine. Their tasks wait
instead of computing, so that more workers than processors show what the scheduling costs. Such a task waits for a
second, about what a variant of the standard sweep takes, gets the same table, and reports on its progress as a fit
does. The part stack is a composed stack with two workers, which is removed afterwards.

Other work on the machine makes single rounds longer, so each figure is that of the best round.
"""

import argparse
import contextlib
import importlib
import json
import os
import pickle
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

os.environ.setdefault("IMAGE_TAG", "local")

# Little else: the local processes import this module too.
import numpy as np
import pandas as pd
from trainer.data.dataset import Table
from trainer.data.demo import TARGET, generate_sessions
from trainer.data.sources import load_data
from trainer.parallel.engine import Engine
from trainer.parallel.pool import ProcessPool
from trainer.sweeps.sweep import sweep_preload

if TYPE_CHECKING:
    from trainer.parallel.cluster.remote_pool import ClusterPool

    from tests.integration.stack import Stack

MIB = 2**20
HERE = Path(__file__).parent
#: Seconds that a task waits, and how many there are for each worker.
WAIT, EACH = 1.0, 6
WORKERS = (1, 2, 4, 8)
PARTS = ("overhead", "efficiency", "transfer", "stack")
#: Real fits of two lengths: rows of the table, and trees of each of four variants, alike, so that two workers have the
#: same to do.
FITS = {"short": (12_000, 3_000), "long": (100_000, 1_500)}
SWEEP = ("sweep", "--cluster", "--again", "--no-register", "--grid", "learning_rate=0.05,0.051,0.052,0.053")
SINGLE = ("--n-estimators", "500")


@dataclass(frozen=True)
class Row:
    """A row of the table: a figure, what it is compared with, and what is wanted of it or of the ratio."""

    name: str
    figure: float
    other: float | None
    unit: str
    what: str
    wanted: str

    def __str__(self) -> str:
        other = "" if self.other is None else f"{self.other:.2f}"
        ratio = "" if self.other is None else f"{self.figure / self.other:.2f}"
        return f"{self.name:<46} {self.figure:>8.2f} {other:>8} {self.unit:<4} {ratio:>6}  {self.wanted:<8} {self.what}"


def took(call: Callable[[], object]) -> float:
    """Returns the wall time of a call, in seconds."""
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


def wait_on(engine: Engine, tasks: Any, count: int, shared: Any) -> float:
    """Returns the wall time of so many tasks that wait, in seconds."""
    return took(lambda: list(engine.map(tasks.wait_as_a_fit, [WAIT] * count, shared, show=lambda _step: None)))


@contextlib.contextmanager
def cluster_of(folder: Path, workers: int) -> Iterator["ClusterPool"]:
    """Runs a cluster of this machine's processes; yields its workers."""
    from tests.unit.trainer.parallel.cluster_processes import local_cluster

    folder.mkdir()
    with local_cluster(folder, workers) as cluster:
        cluster.wait_for_workers(workers)
        with contextlib.closing(cluster.pool()) as pool:
            yield pool


def overhead(folder: Path, tasks: Any, rounds: int) -> Iterator[Row]:
    """Compares tasks on two workers with tasks in two local processes; both are given the same data."""
    shared, count = load_data(rows=12_330), 2 * EACH
    local = ProcessPool(2, [*sweep_preload(served=True), tasks.__name__])
    local.warm_up()
    with cluster_of(folder, 2) as pool:
        walls = [(wait_on(pool, tasks, count, shared), wait_on(local, tasks, count, shared)) for _ in range(rounds + 1)]
    # The first round brings the data and the imports.
    there, here = (min(one) / EACH - WAIT for one in zip(*walls[1:], strict=True))
    yield Row("a variant, beyond its fit", there * 1000, here * 1000, "ms", "two local processes", "<= +50 ms")


def efficiency(folder: Path, tasks: Any, rounds: int) -> Iterator[Row]:
    """Compares tasks that wait on several workers with the time that they wait."""
    shared = load_data(rows=12_330)
    for workers in WORKERS:
        with cluster_of(folder / str(workers), workers) as pool:
            # The first tasks bring the data and the imports.
            list(pool.map(tasks.wait, [0.1] * workers, shared))
            wall = min(wait_on(pool, tasks, EACH * workers, shared) for _ in range(rounds))
        wanted = ">= 0.95" if workers == max(WORKERS) else ""
        yield Row(f"tasks that wait, {workers} workers", EACH * WAIT, wall, "s", "what they took", wanted)


def table_of(megabytes: int, seed: int) -> Table:
    """Returns a table of random numbers."""
    columns = 30
    rows = megabytes * MIB // 8 // columns
    values = np.random.default_rng(seed).normal(size=(rows, columns))
    return Table(pd.DataFrame(values, columns=[f"c{number}" for number in range(columns)]), np.zeros(rows, np.int64))


def transfer(folder: Path, tasks: Any, megabytes: int, rounds: int) -> Iterator[Row]:
    """Compares the way of a table to four workers with four files of it, and with TLS by itself; in turns."""
    from tests.benchmark.tls_floor import seconds_by_tls
    from tests.unit.trainer.parallel.cluster_processes import local_cluster

    os.environ["TRAINER_TABLES"] = str(room := (megabytes + megabytes // 16 + 16) * MIB)
    folder.mkdir()
    # The workers of a machine share one, as those of the stack do.
    (shared := folder / "shared").mkdir()
    walls = []
    with local_cluster(folder, 0) as cluster:
        for _ in range(4):
            cluster.start_worker(room=room, tables=shared)
        with contextlib.closing(cluster.pool()) as pool:
            pool.most = 4
            # Imports what a worker of the stack has imported before its first task.
            list(pool.map(tasks.wait, [0.1] * 4, {"table": table_of(1, 0)}))
            for seed in range(1, rounds + 1):
                table = table_of(megabytes, seed)
                there = took(lambda table=table: list(pool.map(tasks.wait, [0.0] * 4, {"table": table})))  # type: ignore[misc]
                files = took(lambda table=table: write(folder, table))  # type: ignore[misc]
                content = pickle.dumps(table, protocol=pickle.HIGHEST_PROTOCOL)
                walls.append((there, files, seconds_by_tls(content, 4, cluster.certificates)))
                del table, content
    del os.environ["TRAINER_TABLES"]
    there, files, floor = map(min, zip(*walls, strict=True))
    yield Row(f"a table of {megabytes:,} MiB to four workers", there, files, "s", "four files of it, on disk", "<= 1.3")
    yield Row("  its bytes by TLS, and nothing else", floor, files, "s", "four files of it, on disk", "")


def write(folder: Path, table: Table) -> None:
    """Writes four new files of a table, and waits until they are on the disk."""
    for number in range(4):
        file = folder / f"table-{number}"
        file.unlink(missing_ok=True)
        with file.open("wb") as stream:
            pickle.dump(table, stream, protocol=pickle.HIGHEST_PROTOCOL)
            stream.flush()
            os.fsync(stream.fileno())


def trained(stack: "Stack", *args: str, entrypoint: str = "") -> str:
    """Runs the trainer, or another program in its container; returns what it prints."""
    options = ["--rm", "--no-deps", "-T", "--volume", f"{HERE}:/benchmark:ro"]
    options += ["--entrypoint", entrypoint] if entrypoint else []
    # LightGBM's threads make the plain loop take minutes where the processors are busy.
    return stack.compose("run", *options, "trainer", *args, timeout=900).stdout


def real_fits(stack: "Stack", rounds: int) -> Iterator[Row]:
    """Compares sweeps on the composed cluster with one worker, and with a plain loop; and tells memory."""
    from tests.integration.container_memory import held

    loop = ("/benchmark/plain_loop.py",)
    sweep = ("sweep", "--variants", "/benchmark/variants.yaml", "--threshold", "0.5", "--again", "--cluster", "--json")
    single = "n_estimators=500"
    walls: dict[str, list[float]] = {}

    def measure(name: str, *args: str, entrypoint: str = "") -> None:
        walls.setdefault(name, []).append(took(lambda: trained(stack, *args, entrypoint=entrypoint)))

    def best(name: str) -> float:
        return min(walls[name])

    stack.up("--scale", "worker=1", "worker")
    yield Row("idle memory of a worker", max(map(held, containers(stack))) / MIB, None, "MiB", "", "<= 220")
    yield Row("idle memory of the scheduler", held(stack.container("scheduler")) / MIB, None, "MiB", "", "<= 120")
    for length, (rows, trees) in FITS.items():
        table = stack.data / "sessions.parquet"
        generate_sessions(rows).to_parquet(table, index=False)
        fits = (*SWEEP, "--data", f"/data/{table.name}", "--target", TARGET, "--grid", f"n_estimators={trees}")
        for workers in (1, 2):
            stack.up("--no-recreate", "--scale", f"worker={workers}", "worker")
            trained(stack, *fits)
            for _ in range(rounds):
                begin = time.perf_counter()
                done = json.loads(trained(stack, *fits, "--json"))["variants"]
                walls.setdefault(f"{length} {workers}", []).append(time.perf_counter() - begin)
                walls.setdefault(f"{length} runs {workers}", []).append(
                    sum(sum(one["seconds"].values()) for one in done)
                )
        # What follows trains on generated sessions.
        table.unlink()
        one, two = f"{length} 1", f"{length} 2"
        yield Row(f"a sweep of four {length} fits, one worker", best(one), best(two), "s", "two workers", ">= 1.8")
        runs = best(f"{length} runs 1"), best(f"{length} runs 2")
        yield Row("  its runs' own seconds", *runs, "s", "two workers (1.0: none disturbs the other)", "")
    for _ in range(rounds):
        measure("sweep", *sweep)
        measure("loop", *loop, entrypoint="python3")
    yield Row("a plain loop of four variants", best("loop"), best("sweep"), "s", "a sweep on the warm cluster", ">= 4")
    for _ in range(rounds):
        measure("single", *SINGLE)
        measure("single on the cluster", *SINGLE, "--cluster")
        measure("single loop", *loop, single, entrypoint="python3")
    name, there = "a plain loop of one variant of 500 trees", best("single on the cluster")
    yield Row(name, best("single loop"), best("single"), "s", "trainer", "")
    yield Row(name, best("single loop"), there, "s", "trainer on the warm cluster", "")


def containers(stack: "Stack") -> list[Any]:
    """Returns the workers' containers."""
    return list(stack.containers("com.docker.compose.service=worker", "com.docker.compose.oneoff=False"))


def measured(
    part: str, options: argparse.Namespace, folder: Path, tasks: Any, ending: contextlib.ExitStack
) -> Iterator[Row]:
    """Returns the rows of a part of the table; `ending` removes what it starts."""
    if part == "overhead":
        return overhead(folder, tasks, options.rounds)
    if part == "efficiency":
        folder.mkdir()
        return efficiency(folder, tasks, options.rounds)
    if part == "transfer":
        return transfer(folder, tasks, options.megabytes, options.rounds)
    from tests.integration.stack import Stack

    folder.mkdir()
    stack = Stack(folder)
    ending.callback(stack.remove)
    stack.up()
    return real_fits(stack, options.rounds)


def main() -> None:
    """Measures and prints; removes the stack, also when it is told to end."""
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--megabytes", type=int, default=1024, help="of the table that is sent (default: 1024)")
    arguments.add_argument("--rounds", type=int, default=3, help="of each measurement (default: 3)")
    arguments.add_argument("--only", choices=PARTS, help="measure this part alone")
    options = arguments.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    # The workers import the tasks by the name that this process does.
    sys.path.insert(0, str(HERE.parent / "unit" / "trainer" / "parallel"))
    tasks = importlib.import_module("engine_tasks")
    head = f"{'':<46} {'figure':>8} {'other':>8} {'':<4} {'ratio':>6}  {'wanted':<8} other is"
    print(head, flush=True)
    with contextlib.ExitStack() as ending:
        folder = Path(ending.enter_context(tempfile.TemporaryDirectory(prefix="cluster-")))
        for part in [options.only] if options.only else PARTS:
            for row in measured(part, options, folder / part, tasks, ending):
                print(row, flush=True)


if __name__ == "__main__":
    main()
