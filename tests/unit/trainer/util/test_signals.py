"""A signal is not lost, wherever it arrives, and does not disturb the tidying up."""

import os
import signal
import threading

import pytest
from trainer.util.signals import defer_signals, ignore_signals, interruptible


class SignalledInItsDestructor:
    """Python drops whatever a destructor raises, a signal's KeyboardInterrupt included."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __del__(self) -> None:
        os.kill(os.getpid(), self.number)
        # The handler runs before the next instructions.
        threading.Event().wait(0.01)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_in_a_finalizer_still_interrupts(number: signal.Signals, capfd: pytest.CaptureFixture[str]) -> None:
    """A signal that arrives where Python drops exceptions still interrupts."""

    def work() -> None:
        SignalledInItsDestructor(number)
        threading.Event().wait(10)

    with pytest.raises(KeyboardInterrupt, match=number.name), interruptible():
        work()
    assert "Traceback" not in capfd.readouterr().err


def test_a_signal_during_the_tidying_up_is_ignored() -> None:
    with interruptible(), ignore_signals():
        os.kill(os.getpid(), signal.SIGTERM)
        assert not threading.Event().wait(0.01)


def test_held_back_signal_takes_effect_later() -> None:
    """A signal that is held back takes effect afterwards."""
    done = []

    def work() -> None:
        with defer_signals():
            os.kill(os.getpid(), signal.SIGTERM)
            assert not threading.Event().wait(0.01)
            done.append("all of it")
        done.append("more")

    with pytest.raises(KeyboardInterrupt, match="SIGTERM"), interruptible():
        work()
    assert done == ["all of it"]


def test_held_back_signal_is_ignored_in_cleanup() -> None:
    """A signal that is held back while tidying up is ignored."""
    with interruptible(), ignore_signals(), defer_signals():
        os.kill(os.getpid(), signal.SIGINT)
        assert not threading.Event().wait(0.01)
