"""The search space: what a file may say, and what becomes of it."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from trainer.searches import space
from trainer.searches.space import load_space
from trainer.util.errors import InputError


def write(folder: Path, text: str) -> Path:
    path = folder / "space.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_ranges_lists_and_single_values_are_read(tmp_path: Path) -> None:
    text = """
    num_leaves: {low: 8, high: 64, log: true}
    n_estimators: {low: 100, high: 500, step: 100}
    learning_rate: {low: 1e-2, high: 0.2, log: true}
    boosting_type: [gbdt, dart]
    class_weight: [none, balanced]
    max_depth: 7
    """
    read = load_space(write(tmp_path, text), {})
    assert read.fixed == {"max_depth": 7}
    assert read.distributions() == {
        "num_leaves": IntDistribution(8, 64, log=True),
        "n_estimators": IntDistribution(100, 500, step=100),
        "learning_rate": FloatDistribution(0.01, 0.2, log=True),
        "boosting_type": CategoricalDistribution(("gbdt", "dart")),
        "class_weight": CategoricalDistribution((None, "balanced")),
    }
    assert [dimension.size for dimension in read.dimensions] == [57, 5, float("inf"), 2, 2]


def test_standard_space_leaves_out_what_is_given() -> None:
    names = {dimension.name for dimension in load_space(None, {"n_estimators": 50}).dimensions}
    assert names == space.DEFAULT.keys() - {"n_estimators"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ["nothing", "write a mapping"]),
        ("- 5", ["a list", "write a mapping"]),
        ("num_leaves: 5", ["varies nothing"]),
        ("num_leafs: [3, 4]", ["num_leafs", "did you mean 'num_leaves'"]),
        ("num_leaves: []", ["num_leaves", "no values"]),
        ("num_leaves: [4, 1]", ["num_leaves: value 2", "from 2 to 131072"]),
        ("num_leaves: [4, 4]", ["num_leaves", "twice"]),
        ("num_leaves: {low: 1, high: 5}", ["num_leaves: low", "from 2 to 131072"]),
        ("num_leaves: {low: 3}", ["num_leaves: high is missing"]),
        ("max_depth: 5\nnum_leaves: {low: 3}", ["line 2: num_leaves"]),
        ("max_depth: 5\nmax_depth: [6, 7]", ["line 2", "max_depth is given twice"]),
        ("num_leaves: {low: 5, high: 5}", ["low must be below high", "num_leaves: 5"]),
        ("num_leaves: {low: 5, hihg: 9}", ["'hihg'", "low, high, step, log"]),
        ("num_leaves: {low: 5, high: 9, step: 0}", ["step must be an integer above 0"]),
        ("num_leaves: {low: 5, high: 9, step: 1.5}", ["step must be an integer above 0"]),
        ("num_leaves: {low: 5, high: 9, log: 1}", ["log is a number"]),
        ("num_leaves: {low: 5, high: 9, log: true, step: 2}", ["step and log exclude each other"]),
        ("reg_alpha: {low: 0, high: 9, log: true}", ["above 0", "leave out log"]),
        ("boosting_type: {low: 0, high: 9}", ["boosting_type has no range", "gbdt, dart, rf"]),
        (
            "is_unbalance: [true, false]\nscale_pos_weight: [1, 2]",
            ["is_unbalance=true scale_pos_weight=2.0", "only one"],
        ),
        ("boosting_type: [gbdt, rf]", ["boosting_type=rf", "needs randomness"]),
        ("{a: b", ["line", "not valid YAML"]),
    ],
)
def test_bad_space_is_refused_with_place_and_remedy(tmp_path: Path, text: str, words: list[str]) -> None:
    path = write(tmp_path, text)
    with pytest.raises(InputError) as refused:
        load_space(path, {})
    for word in [str(path), *words]:
        assert word in str(refused.value)


values = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 500) | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["low", "high", "step", "log", "x"]), inner, max_size=4)
    ),
    max_leaves=6,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.sampled_from(["num_leaves", "reg_alpha", "boosting_type", "is_unbalance", "x"]), values))
def test_any_mapping_is_a_space_or_refused_input(tmp_path: Path, content: dict[str, Any]) -> None:
    path = write(tmp_path, yaml.safe_dump(content))
    with suppress(InputError):
        assert load_space(path, {}).distributions()
