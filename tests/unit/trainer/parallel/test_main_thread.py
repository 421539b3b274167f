"""The main thread of a cluster's worker: what it does between tasks."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any

import pytest
from trainer.parallel.cluster import main_thread
from trainer.parallel.cluster.main_thread import InterruptedTaskError, MainThread
from trainer.util.signals import GIVE_UP, ignore_signals


@pytest.fixture
def executor() -> Iterator[MainThread]:
    """Return one whose signal handlers are gone after the test."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, GIVE_UP)}
    yield MainThread()
    for number, handler in before.items():
        signal.signal(number, handler)


def run_all(executor: MainThread, *functions: Callable[[], object]) -> list[Future[Any]]:
    """Run functions one after the other in this thread; return what came of them."""
    futures = [executor.submit(function) for function in functions]
    executor._calls.put(None)
    executor.run()
    return futures


def test_given_up_call_is_interrupted(executor: MainThread) -> None:
    """The others follow it."""

    def give_up() -> None:
        executor.interrupt()
        time.sleep(30)

    first, second = run_all(executor, give_up, lambda: "done")
    assert isinstance(first.exception(), InterruptedTaskError)
    assert second.result() == "done"


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_no_call_ends_the_event_loop(executor: MainThread, error: type[BaseException]) -> None:
    """An interrupt that comes when a task has caught all that it catches; asyncio would let it end the loop."""

    def interrupted() -> None:
        raise error

    first, second = run_all(executor, interrupted, lambda: "done")
    assert isinstance(first.exception(), InterruptedTaskError)
    assert second.result() == "done"


def test_late_signal_interrupts_no_other_call(executor: MainThread) -> None:
    """It was for the call before, and it tells this process to stop as little."""

    def late() -> str:
        executor._unwanted = executor._running - 1
        os.kill(os.getpid(), GIVE_UP)
        return "done"

    *_, second, third = run_all(executor, lambda: None, late, lambda: "done too")
    assert (second.result(), third.result()) == ("done", "done too")


def test_call_about_to_begin_is_given_up(executor: MainThread) -> None:
    signal.signal(GIVE_UP, signal.SIG_IGN)
    unwanted = executor.submit(time.sleep, 30)
    executor.interrupt()
    (next_one,) = run_all(executor, lambda: "done")
    assert isinstance(unwanted.exception(), InterruptedTaskError)
    assert next_one.result() == "done"


def test_stop_after_a_signal_that_was_ignored(executor: MainThread) -> None:
    """A task that tidies up ignores its interrupt; what tells the process to stop later is no such interrupt."""

    def tidy_up() -> None:
        with ignore_signals():
            executor.interrupt()

    def stopped() -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(30)

    first, second, third = run_all(executor, tidy_up, stopped, lambda: "done")
    assert first.result() is None
    assert isinstance(second.exception(), InterruptedTaskError)
    assert not third.done()


def test_memory_is_given_back_when_idle(monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes time, and the next task of a sweep comes at once: so not between two of them."""
    done: list[str] = []
    executor = MainThread()

    def give_back() -> None:
        done.append("memory")
        executor.submit(done.append, "another task")
        executor._calls.put(None)

    monkeypatch.setattr(main_thread, "give_back_memory", give_back)
    # Signals are the main thread's business, which this is not.
    monkeypatch.setattr("signal.signal", lambda *_: None)
    for name in ("one task", "the next task"):
        executor.submit(done.append, name)
    thread = threading.Thread(target=executor.run)
    thread.start()
    thread.join(30)
    assert not thread.is_alive()
    assert done == ["one task", "the next task", "memory", "another task"]
