"""The nearest name, for messages that suggest one."""

from __future__ import annotations

from trainer.util.text import did_you_mean, nearest


def test_nearest_is_the_one_that_is_alike() -> None:
    assert nearest("num_leafs", ["num_leaves", "max_depth"]) == "num_leaves"
    assert nearest("nothing", ["num_leaves"]) is None


def test_suggestion_or_what_else_helps() -> None:
    assert did_you_mean("swep", ["sweep", "train"], "x") == "did you mean 'sweep'?"
    assert did_you_mean("nothing", ["sweep"], "the commands are sweep") == "the commands are sweep"
