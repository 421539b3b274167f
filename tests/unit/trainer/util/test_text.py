"""Names in messages: the nearest one, where a message suggests one, and what would not show."""

from __future__ import annotations

from trainer.util.text import did_you_mean, listed, nearest


def test_nearest_is_the_one_that_is_alike() -> None:
    assert nearest("num_leafs", ["num_leaves", "max_depth"]) == "num_leaves"
    assert nearest("nothing", ["num_leaves"]) is None


def test_suggestion_or_what_else_helps() -> None:
    assert did_you_mean("swep", ["sweep", "train"], "x") == "did you mean 'sweep'?"
    assert did_you_mean("nothing", ["sweep"], "the commands are sweep") == "the commands are sweep"


def test_white_space_of_listed_names_shows() -> None:
    """Of two names that differ in white space alone, one would look like the other."""
    assert listed(["Age", " Age", "a b", "a  b", "a\tb"]) == r"Age, ' Age', a b, 'a  b', 'a\tb'"


def test_unicode_forms_of_names_show() -> None:
    """The same letter in one mark or in two looks the same in a terminal."""
    assert listed(["gr\u00f6\u00dfe", "gro\u0308\u00dfe"]) == "größe, 'gro\\u0308\\xdfe'"
    assert did_you_mean("gr\u00f6\u00dfe", ["gro\u0308\u00dfe"], "") == r"did you mean 'gro\u0308\xdfe'?"
