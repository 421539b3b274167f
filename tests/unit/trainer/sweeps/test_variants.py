"""The variants of a sweep: from a file, as a grid, in pairs."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trainer.config.parameter import Value
from trainer.sweeps.variants import combine_lists, load_variants, select_variants
from trainer.util.errors import InputError

BASE: dict[str, Value] = {"num_leaves": 6, "n_estimators": 8}


def write(folder: Path, text: str) -> Path:
    path = folder / "variants.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_standard_variants_are_the_documented_ones() -> None:
    made = select_variants(None, [], [], {"num_leaves": 31}).variants
    assert [(v.params["n_estimators"], v.params["learning_rate"]) for v in made] == [
        (200, 0.05),
        (500, 0.025),
        (1000, 0.01),
    ]
    assert all(v.params["num_leaves"] == 31 and v.params["max_depth"] == 12 for v in made)
    assert made[1].name == "n_estimators=500 learning_rate=0.025"


def test_variants_are_read_from_a_file(tmp_path: Path) -> None:
    path = write(tmp_path, "- n_estimators: 5\n  name: few trees\n- {learning_rate: 0.5, is_unbalance: true}\n- {}\n")
    few, fast, plain = load_variants(path, BASE)
    assert (few.name, few.params["n_estimators"], few.params["num_leaves"]) == ("few trees", 5, 6)
    assert fast.name == "learning_rate=0.5 is_unbalance=true"
    assert fast.params["n_estimators"] == 8
    assert plain.name == "baseline"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ["nothing", "list of variants"]),
        ("[]", ["lists no variants"]),
        ("n_estimators: 5", ["a mapping", "starting with '- '"]),
        ("- 5", ["item 1", "a number"]),
        ("- num_leaves: 5\n  num_leaves: 6", ["line 2, column 3", "num_leaves is given twice", "first in line 1"]),
        ("- num_leaves: 5\n\n- learning_rate: 0.1\n  num_leafs: 5", ["line 3", "item 2", "num_leafs"]),
        ("- {n_estimators: 5}\n- [1]", ["item 2", "a list"]),
        ("- {n_estimators: 5}\n- {num_leafs: 5}", ["item 2", "num_leafs", "did you mean 'num_leaves'"]),
        ("- {num_leaves: 1}", ["item 1", "num_leaves", "from 2 to 131072"]),
        ("- {num_leaves: yes}", ["item 1", "num_leaves", "true"]),
        ("- {n_estimators: [1, 2]}", ["item 1", "n_estimators", "[1, 2]"]),
        ("- {n_estimators: 5}\n- {n_estimators: 5}", ["item 2", "same variant as item 1"]),
        ("- {name: a, max_depth: 2}\n- {name: a}", ["item 2", "name of item 1, 'a'"]),
        ("- {name: [x]}", ["item 1", "name"]),
        ("- {is_unbalance: true, scale_pos_weight: 2}", ["item 1", "only one of them"]),
        ("- {a: b", ["line", "not valid YAML"]),
        ("- !!python/object:os.system {}", ["not valid YAML"]),
    ],
)
def test_bad_file_is_refused_with_place_and_remedy(tmp_path: Path, text: str, words: list[str]) -> None:
    path = write(tmp_path, text)
    with pytest.raises(InputError) as refused:
        load_variants(path, {})
    for word in [str(path), *words]:
        assert word in str(refused.value)


def test_yaml_anchor_shares_values(tmp_path: Path) -> None:
    """What variants share can be merged in by a YAML anchor."""
    text = (
        "- &deep {num_leaves: 60, max_depth: 12}\n- &slow {n_estimators: 500}\n- {<<: [*deep, *slow], max_depth: 3}\n"
    )
    merged = load_variants(write(tmp_path, text), {})[2]
    assert merged.overrides == {"num_leaves": 60, "max_depth": 3, "n_estimators": 500}


def test_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        load_variants(tmp_path / "none.yaml", {})


# Lists on the command line --------------------------------------------------------------------------------------------


def test_grid_combines_every_value_with_every_other() -> None:
    choice = combine_lists(["n_estimators=200,500", "learning-rate=0.05,0.1"], [], BASE)
    assert choice.words == "grid of 2 × 2 = 4 variants"
    assert choice.warnings == ()
    assert [variant.name for variant in choice.variants] == [
        "n_estimators=200 learning_rate=0.05",
        "n_estimators=200 learning_rate=0.1",
        "n_estimators=500 learning_rate=0.05",
        "n_estimators=500 learning_rate=0.1",
    ]
    assert all(variant.params["num_leaves"] == 6 for variant in choice.variants)


def test_pairs_go_together() -> None:
    choice = combine_lists([], ["n_estimators=200,500", "learning_rate=0.05,0.025"], BASE)
    assert choice.words == "2 pairs"
    assert [variant.overrides for variant in choice.variants] == [
        {"n_estimators": 200, "learning_rate": 0.05},
        {"n_estimators": 500, "learning_rate": 0.025},
    ]


def test_pairs_meet_each_point_of_the_grid() -> None:
    choice = combine_lists(["num_leaves=3,4,5"], ["n_estimators=2,5", "learning_rate=0.5,0.2"], {})
    assert choice.words == "2 pairs × grid of 3 = 6 variants"
    assert len(choice.variants) == 6
    assert choice.variants[3].name == "n_estimators=5 learning_rate=0.2 num_leaves=3"


@pytest.mark.parametrize(
    ("grid", "paired", "words"),
    [
        (["learning_rate=0.1,0.10,0.2"], [], "grid of 3 = 2 variants"),
        ([], ["n_estimators=5,5,5", "learning_rate=0.1,0.1,0.2"], "3 pairs = 2 variants"),
    ],
)
def test_duplicates_are_dropped_with_a_notice(grid: list[str], paired: list[str], words: str) -> None:
    choice = combine_lists(grid, paired, BASE)
    assert choice.words == words
    assert len(choice.variants) == 2
    assert "1 duplicate dropped" in choice.warnings[0]


@pytest.mark.parametrize(
    ("grid", "paired", "words"),
    [
        (["n_estimators"], [], ["--grid 'n_estimators'", "such as n_estimators=200,500"]),
        (["=5"], [], ["--grid '=5'"]),
        (["n_estimators="], [], ["--grid 'n_estimators='", "a value is missing"]),
        (["n_estimators=5,,6"], [], ["a value is missing"]),
        (["num_leafs=5"], [], ["--grid", "num_leafs", "did you mean 'num_leaves'"]),
        ([], ["num_leaves=5,1"], ["--paired", "num_leaves", "'1'", "from 2 to 131072"]),
        (["num_leaves=5", "num-leaves=6"], [], ["--grid lists num_leaves twice", "one list"]),
        (["num_leaves=5"], ["num_leaves=6"], ["num_leaves", "--grid and by --paired"]),
        ([], ["num_leaves=5,6", "n_estimators=7"], ["num_leaves has 2 values", "n_estimators has 1", "use --grid"]),
        (
            ["is_unbalance=true,false", "scale_pos_weight=1,2"],
            [],
            ["is_unbalance=true scale_pos_weight=2.0", "only one"],
        ),
        (
            [f"num_leaves={','.join(map(str, range(2, 203)))}", f"max_bin={','.join(map(str, range(2, 203)))}"],
            [],
            ["40,401"],
        ),
    ],
)
def test_bad_list_is_refused_with_place_and_remedy(grid: list[str], paired: list[str], words: list[str]) -> None:
    with pytest.raises(InputError) as refused:
        combine_lists(grid, paired, {})
    for word in words:
        assert word in str(refused.value)


def test_file_and_lists_exclude_each_other(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="either the file or the lists"):
        select_variants(write(tmp_path, "- {}"), ["num_leaves=5"], [], {})


@given(st.lists(st.text(max_size=30), min_size=1, max_size=3), st.booleans())
def test_any_text_is_a_list_or_refused_input(texts: list[str], as_grid: bool) -> None:
    with suppress(InputError):
        assert combine_lists(texts if as_grid else [], [] if as_grid else texts, {}).variants
