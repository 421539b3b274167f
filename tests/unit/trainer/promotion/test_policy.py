"""The promotion policy: its defaults, its file, and what is refused."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from trainer.promotion import policy
from trainer.promotion.policy import DEFAULT_POLICY, METRICS, PromotionPolicy, load_policy
from trainer.training.metrics import METRIC_NAMES
from trainer.util.errors import InputError

from ..conftest import Answer


def write(folder: Path, content: str) -> Path:
    path = folder / "policy.yaml"
    path.write_text(content)
    return path


def test_default_policy_is_what_is_printed(trainer: Callable[..., Answer], tmp_path: Path) -> None:
    printed = trainer("promote", "--show-policy")
    assert (printed.code, printed.out) == (0, DEFAULT_POLICY)
    assert load_policy(write(tmp_path, printed.out)) == load_policy()


def test_default_policy_checks_every_kind() -> None:
    """Default policy checks something of every kind."""
    default = load_policy()
    assert default.minimum
    assert default.champion
    assert default.signature
    assert default.safe_format
    assert default.latency_ms


def test_all_metrics_can_be_named() -> None:
    assert set(METRICS) == set(METRIC_NAMES)


def test_what_a_file_leaves_out_keeps_its_default(tmp_path: Path) -> None:
    own = load_policy(write(tmp_path, "minimum: {f1: 0.7}\nlatency_ms: false"))
    default = load_policy()
    assert (own.minimum, own.latency_ms) == ({"f1": 0.7}, None)
    assert (own.champion, own.seconds, own.signature) == (default.champion, default.seconds, default.signature)


def test_other_tasks_have_other_defaults(tmp_path: Path) -> None:
    """What a file gives holds for each task; what it leaves out is the task's own default."""
    default = load_policy()
    assert default.for_task("binary") == default
    assert default.for_task("multiclass").minimum == {"roc_auc_macro": 0.7}
    assert default.for_task("regression").champion == {"r2": 0.01}
    own = load_policy(write(tmp_path, "{minimum: {f1/setosa: 0.7, r2: 0.5}, maximum: {rmse: 1200, log_loss: 0.4}}"))
    assert own.for_task("regression").minimum == {"f1/setosa": 0.7, "r2": 0.5}
    assert own.for_task("regression").maximum == {"rmse": 1200, "log_loss": 0.4}
    assert own.for_task("multiclass").champion == {"f1_macro": 0.02, "log_loss": 0.02}
    assert own.for_task("multiclass").seconds == own.seconds


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("minimum: {rmse: 3}", "rmse is better when it is low"),
        ("maximum: {r2: 0.3}", "r2 is better when it is high"),
        ("minimum: {error_p50: 0}", "there is no metric 'error_p50'"),
        ("minimum: {roc_auc/setosa: 0.5}", "there is no metric 'roc_auc/setosa'"),
        ("champion: {recall/setosa: 2}", "must be a number from 0 to 1"),
    ],
)
def test_bounds_of_other_tasks_are_checked(tmp_path: Path, content: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        load_policy(write(tmp_path, content))


def test_false_leaves_a_constraint_out(tmp_path: Path) -> None:
    own = load_policy(write(tmp_path, "{minimum: false, maximum: false, champion: false, signature: false}"))
    assert (own.minimum, own.maximum, own.champion, own.signature) == ({}, {}, {}, False)


def test_digest_is_that_of_the_constraints(tmp_path: Path) -> None:
    one = load_policy(write(tmp_path, "minimum: {f1: 0.7, roc_auc: 0.9}  # for the sale")).digest
    same = load_policy(write(tmp_path, "minimum:\n  roc_auc: 0.9\n  f1: 0.70")).digest
    other = load_policy(write(tmp_path, "minimum: {f1: 0.71, roc_auc: 0.9}")).digest
    assert one == same != other
    assert re.fullmatch(r"[0-9a-f]{12}", one)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[1]", "holds a list; write a mapping such as"),
        ("", "holds nothing; write a mapping such as"),
        ("minimun: {f1: 0.5}", "there is no constraint 'minimun'; did you mean 'minimum'?"),
        ("zzz: 1", "there is no constraint 'zzz'; known are minimum, maximum"),
        ("minimum: 0.5", "minimum is a number; write a mapping such as {average_precision: 0.01}, or false"),
        ("minimum: {AP: 0.5}", "minimum: there is no metric 'AP'; known are f1"),
        ("minimum: {roc_acu: 0.5}", "minimum: there is no metric 'roc_acu'; did you mean 'roc_auc'?"),
        ("minimum: {log_loss: 0.5}", "minimum: log_loss is better when it is low; name it under maximum"),
        ("maximum: {f1: 0.5}", "maximum: f1 is better when it is high; name it under minimum"),
        ("minimum: {f1: 70}", "minimum: f1 is 70; it must be a number from 0 to 1"),
        ("champion: {f1: -0.1}", "champion: f1 is -0.1; it must be a number from 0 to 1"),
        ("champion: {f1: true}", "champion: f1 is true or false; it must be a number"),
        ("champion: {f1: .nan}", "champion: f1 is nan; it must be a number"),
        ("latency_ms: fast", "latency_ms is text; it must be a number from 0.001 to 3,600,000, or false"),
        ("latency_ms: 0", "latency_ms is 0; it must be"),
        ("seconds: false", "seconds is true or false; it must be a number from 1 to 3,600"),
        ("memory_mib: 1", "memory_mib is 1; it must be a number from 64 to 1,048,576"),
        ("signature: yes please", "signature is text; it must be true or false"),
        ("safe_format: 1", "safe_format is a number; it must be true or false"),
        ("minimum: {f1: 0.5", "line 1, column 18: is not valid YAML"),
    ],
)
def test_bad_policy_is_refused_with_place_and_remedy(
    trainer: Callable[..., Answer], tmp_path: Path, content: str, message: str
) -> None:
    path = write(tmp_path, content)
    answer = trainer("promote", "--policy", path, "--tracking-uri", "http://127.0.0.1:9")
    assert answer.code == 2
    assert answer.error.startswith(str(path))
    assert message in answer.error


def test_policy_that_is_not_there(trainer: Callable[..., Answer], tmp_path: Path) -> None:
    answer = trainer("promote", "--policy", tmp_path / "none.yaml")
    assert (answer.code, answer.error) == (2, f"{tmp_path / 'none.yaml'}: no such file (--policy)")


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.dates()
keys = st.sampled_from([*policy._KEYS, *METRICS]) | scalars
contents = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=4), max_leaves=12
)


# A busy machine may take a while over one example.
@pytest.mark.slow
@settings(deadline=None)
@given(contents | st.dictionaries(st.sampled_from(policy._KEYS), contents, max_size=4))
def test_any_yaml_is_a_policy_or_one_line(tmp_path_factory: pytest.TempPathFactory, content: Any) -> None:
    """Any YAML is a policy or one line that names the file."""
    path = write(tmp_path_factory.getbasetemp(), yaml.safe_dump(content))
    loaded: PromotionPolicy | None = None
    message = f"{path}: refused"
    try:
        loaded = load_policy(path)
    except InputError as error:
        message = str(error)
    assert message.startswith(str(path))
    assert "\n" not in message
    if loaded is not None:
        assert all(0 <= value <= 1 for value in loaded.minimum.values())
        assert 1 <= loaded.seconds <= 3_600
        assert 64 <= loaded.memory_mib <= 1_048_576
        assert isinstance(loaded.signature, bool)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "minimum": st.dictionaries(st.sampled_from(["f1", "roc_auc"]), st.floats(0, 1), max_size=2),
            "maximum": st.dictionaries(st.just("log_loss"), st.floats(0, 10), max_size=1),
            "champion": st.dictionaries(st.sampled_from(sorted(METRICS)), st.floats(0, 1)),
            "signature": st.booleans(),
            "latency_ms": st.floats(0.001, 1e6) | st.just(False),
            "seconds": st.integers(1, 3600),
            "memory_mib": st.integers(64, 100_000),
        },
    )
)
def test_a_good_policy_is_read_as_it_is_written(
    tmp_path_factory: pytest.TempPathFactory, content: dict[str, Any]
) -> None:
    loaded = load_policy(write(tmp_path_factory.getbasetemp(), yaml.safe_dump(content)))
    for key, value in content.items():
        assert getattr(loaded, key) == (None if value is False and key == "latency_ms" else value)
