"""Tasks for the engine's tests, in a module that other processes can import."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path
from typing import Any

from trainer.parallel.forked_call import ForkedCall
from trainer.util.errors import InputError


def double(item: int, shared: int) -> int:
    return item * 2 + shared


def wait(seconds: float, _shared: Any) -> None:
    time.sleep(seconds)


def raise_interrupt() -> None:
    raise KeyboardInterrupt("interrupted late")


_KEPT: list[Any] = []


def end_event_loop() -> None:
    """Let the event loop of a worker end at once, and soon: with tasks of which none lets it tidy up."""

    async def interrupt_again() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            raise_interrupt()

    loop = asyncio.get_running_loop()
    # So many that one of them comes before the others of the loop.
    _KEPT.extend(loop.create_task(interrupt_again()) for _ in range(50))
    loop.call_later(0.2, raise_interrupt)


def wait_as_a_fit(seconds: float, _shared: Any) -> None:
    """Wait instead of computing, and report on the progress as often as a fit does."""
    from trainer.parallel.progress import INTERVAL, Reporter, Step

    reporter, end = Reporter("", 0, "a fit"), time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        reporter.send(Step(0, "a fit", round((seconds - left) / seconds * 500), 500, 0.5))
        time.sleep(min(left, INTERVAL))


def make_table(rows: int, _shared: Any) -> dict[str, Any]:
    import numpy as np
    import pandas as pd
    from trainer.data.dataset import Table

    return {"table": Table(pd.DataFrame({"x": np.arange(rows)}), np.zeros(rows, dtype=np.int64)), "name": "made there"}


def sum_of_table(_item: int, shared: dict[str, Any]) -> int:
    return int(shared["table"].features["x"].sum())


class Lingering:
    """Something whose end takes its process time; where it arrives it is a word."""

    def __reduce__(self) -> Any:
        return str, ("gone",)

    def __del__(self) -> None:
        time.sleep(0.3)


def linger(_item: int, _shared: Any) -> Any:
    return Lingering()


def process_id(_item: int, _shared: Any) -> int:
    return os.getpid()


def fail_at_two(item: int, _shared: Any) -> int:
    if item == 2:
        raise InputError("two is no good")
    return item


def fail_at_two_with_process_id(item: int, _shared: Any) -> int:
    return process_id(fail_at_two(item, _shared), _shared)


def die_at_two(item: int, _shared: Any) -> int:
    if item == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return item


def wait_and_tidy_up(item: int, folder: Path) -> None:
    if item == 0:
        return
    try:
        (folder / f"started-{item}").touch()
        time.sleep(60)
    except KeyboardInterrupt as interrupt:
        (folder / f"tidied-{item}").write_text(str(interrupt))
        raise


def tidy_up_for(seconds: float, folder: Path) -> None:
    (folder / f"started-{seconds}").touch()
    try:
        time.sleep(60)
    except KeyboardInterrupt:
        time.sleep(seconds)
        (folder / f"tidied-{seconds}").touch()
        raise


def die_the_first_time(item: int, folder: Path) -> int:
    if item == 2 and not (folder / "died").exists():
        (folder / "died").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return item


def login(_item: int, _shared: Any) -> list[str | None]:
    from trainer.parallel.cluster.remote_task import LOGIN

    return [os.environ.get(name) for name in LOGIN]


def identity(_item: int, shared: Any) -> tuple[int, int]:
    return os.getpid(), id(shared["table"])


def ask(item: int, _shared: Any) -> Any:
    from trainer.parallel.cluster.remote_task import PROCESS

    return PROCESS.ask_client(item)


def report(item: int, _shared: Any) -> None:
    from trainer.parallel.progress import Reporter, Step

    Reporter("", item, "one").send(Step(item, "one", 3, 10, 0.5))


def take_over(item: ForkedCall[Any], _shared: Any) -> Any:
    return item.result()


def own_process_id() -> int:
    return os.getpid()


def refuse() -> None:
    raise InputError("no good")


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def note_and_wait() -> None:
    Path("pid").write_text(str(os.getpid()))
    time.sleep(60)


def die_at_once(_item: Any, _shared: Any) -> None:
    os._exit(1)
