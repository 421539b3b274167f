"""Messages stay on one line, whatever they quote."""

from __future__ import annotations

import pickle

from trainer.errors import InputError, TrackingError, TrainerError, one_line


def test_message_is_one_printable_line_of_limited_length() -> None:
    assert one_line("a\n  b\tc\x1b[31m") == "a b c�[31m"
    assert one_line(ValueError()) == "ValueError"
    assert one_line("x" * 600) == "x" * 499 + "…"
    assert one_line("see http://me:hush@host:1/x and a@b.example") == "see http://host:1/x and a@b.example"
    assert str(InputError("two\nlines")) == "two lines"


def test_exit_codes_tell_input_from_the_rest() -> None:
    assert InputError("").exit_code == 2
    assert TrackingError("").exit_code == TrainerError("").exit_code == 1


def test_error_travels_between_processes() -> None:
    copy = pickle.loads(pickle.dumps(InputError("why")))  # noqa: S301 - made here
    assert (type(copy), str(copy)) == (InputError, "why")
