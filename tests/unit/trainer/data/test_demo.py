"""The generated web-shop sessions."""

from __future__ import annotations

import pandas as pd
import pytest
from trainer.data import demo
from trainer.data.demo import generate_sessions


def test_same_seed_gives_the_same_sessions() -> None:
    pd.testing.assert_frame_equal(generate_sessions(500, seed=1), generate_sessions(500, seed=1))


def test_other_seed_gives_other_sessions() -> None:
    assert not generate_sessions(500, seed=1).equals(generate_sessions(500, seed=2))


@pytest.mark.parametrize("seed", [0, 42])
def test_sessions_look_like_a_shop(seed: int) -> None:
    table = generate_sessions(seed=seed)
    assert len(table) == 12_000
    assert 0.14 < table[demo.TARGET].mean() < 0.17
    assert set(table[demo.TARGET].unique()) == {0, 1}
    assert table["bounce_rate"].between(0, 0.2).all()
    assert (table["bounce_rate"] <= table["exit_rate"] + 1e-5).all()
    assert (table["product_pages"] >= 1).all()
    assert 0.01 < table["traffic_source"].isna().mean() < 0.03
    assert 0.10 < table["month"].eq("Nov").mean() < 0.22
    bought = table[demo.TARGET] == 1
    buyers, others = table[bought], table[~bought]
    assert buyers["page_value"].mean() > 3 * others["page_value"].mean()
    assert buyers["exit_rate"].mean() < others["exit_rate"].mean()
    assert buyers["product_pages"].mean() > others["product_pages"].mean()
    by_month = table.groupby("month")[demo.TARGET].mean()
    assert by_month["Nov"] > by_month["Feb"] + 0.05
