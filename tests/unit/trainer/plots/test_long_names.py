"""Long names, and large numbers, in the room that a plot has for them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trainer.plots import scales, style
from trainer.plots.long_names import cut_apart, feature_names

SIZE, ROOM = 12.0, 0.2
MONTHS = [f"customer_lifetime_value_after_{month:02d}_months_of_subscription" for month in range(12)]


def test_cut_names_stay_different() -> None:
    """What tells them apart is shown from the beginning of its number on."""
    shown = cut_apart(MONTHS, SIZE, ROOM)
    assert len(set(shown)) == 12
    assert all(f"…{month:02d}_" in text for month, text in enumerate(shown))
    assert max(style.extent(text, SIZE) for text in shown) <= ROOM


def test_cut_names_keep_both_ends() -> None:
    names = ["short", f"a{'x' * 60}b", f"c{'x' * 60}d"]
    shown = cut_apart(names, SIZE, ROOM)
    assert shown[0] == "short"
    assert [(text[0], text[-1]) for text in shown[1:]] == [("a", "b"), ("c", "d")]


def test_names_over_several_lines_take_one() -> None:
    """A name on two lines would stand in the row of the next one."""
    shown, _ = feature_names(["time\n(s)", "a\r\nb", "c\td", "plain"], SIZE)
    assert shown == ["time↵(s)", "a↵b", "c d", "plain"]
    assert "\n" not in style.cut("x\n" * 90, SIZE, ROOM)


@given(st.lists(st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=90), min_size=1, max_size=8))
def test_no_cut_name_is_too_wide(names: list[str]) -> None:
    shown, right = feature_names(names, SIZE)
    assert len(shown) == len(names)
    assert max(style.extent(text, SIZE) for text in shown) <= 0.36
    assert right <= 0.39 + 1e-9


@pytest.mark.parametrize(
    ("places", "labels"),
    [
        ([0, 0.5, 1.0], ["0.0", "0.5", "1.0"]),
        ([0, 2_000, 4_000], ["0", "2,000", "4,000"]),
        ([-50_000, 0, 50_000], ["-50k", "0", "50k"]),
        ([900_000, 920_000], ["900k", "920k"]),
        ([960_000, 980_000, 1_000_000], ["0.96M", "0.98M", "1.00M"]),
        ([2e6, 4e6], ["2M", "4M"]),
        ([2.5e9, 5e9], ["2.5bn", "5.0bn"]),
        ([4_995_464.0, 4_995_464.5], ["4,995,464.0", "4,995,464.5"]),
        ([0, 2e15], ["0", "2e15"]),
        ([-1e-6, 0, 1e-6], ["-1e-6", "0", "1e-6"]),
        ([0, 0.0005, 0.001], ["0.0000", "0.0005", "0.0010"]),
    ],
)
def test_large_numbers_are_short(places: list[float], labels: list[str]) -> None:
    assert scales._labels(places, places[1] - places[0]) == labels


@pytest.mark.parametrize(
    ("value", "text"),
    [(-13_456.0, "-13k"), (100_000.0, "100k"), (2.63, "2.6"), (0.0, "0"), (1.26e7, "13M"), (3e13, "3e+13")],
)
def test_numbers_in_captions_have_two_digits(value: float, text: str) -> None:
    assert scales.short(value) == text
