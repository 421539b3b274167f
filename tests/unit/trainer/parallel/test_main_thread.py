"""The main thread of a cluster's worker: what it does between tasks."""

from __future__ import annotations

import threading

import pytest
from trainer.parallel.cluster import main_thread


def test_memory_is_given_back_when_idle(monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes time, and the next task of a sweep comes at once: so not between two of them."""
    done: list[str] = []
    executor = main_thread.MainThread()

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
