"""The generated web-shop sessions."""

from __future__ import annotations

import pandas as pd
import pytest
from trainer.data import demo as sessions


def test_same_seed_gives_the_same_sessions() -> None:
    pd.testing.assert_frame_equal(sessions.generate(500, seed=1), sessions.generate(500, seed=1))


def test_other_seed_gives_other_sessions() -> None:
    assert not sessions.generate(500, seed=1).equals(sessions.generate(500, seed=2))


@pytest.mark.parametrize("seed", [0, 42])
def test_sessions_look_like_a_shop(seed: int) -> None:
    table = sessions.generate(seed=seed)
    assert len(table) == 12_000
    assert 0.14 < table[sessions.TARGET].mean() < 0.17
    assert set(table[sessions.TARGET].unique()) == {0, 1}
    assert table["bounce_rate"].between(0, 0.2).all()
    assert (table["bounce_rate"] <= table["exit_rate"] + 1e-5).all()
    assert (table["product_pages"] >= 1).all()
    assert 0.01 < table["traffic_source"].isna().mean() < 0.03
    assert 0.10 < table["month"].eq("Nov").mean() < 0.22
    bought = table[sessions.TARGET] == 1
    buyers, others = table[bought], table[~bought]
    assert buyers["page_value"].mean() > 3 * others["page_value"].mean()
    assert buyers["exit_rate"].mean() < others["exit_rate"].mean()
    assert buyers["product_pages"].mean() > others["product_pages"].mean()
    by_month = table.groupby("month")[sessions.TARGET].mean()
    assert by_month["Nov"] > by_month["Feb"] + 0.05
