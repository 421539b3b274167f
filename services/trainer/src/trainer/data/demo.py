"""Generates web-shop sessions, for use without any data: the same sessions for the same seed, with realistic relations.

A session has a hidden intent to buy. It shows, with noise, in how long and how deep a visitor browses, in how often the
session bounces, and above all in the value of the pages seen; season, device and traffic source shift it. The purchase
is then drawn from a probability, so that no model can be perfect.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

ROWS = 12_000
TARGET = "purchase"
PURCHASE_SHARE = 0.155

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_MONTH_SHARES = (0.06, 0.05, 0.10, 0.07, 0.12, 0.06, 0.06, 0.06, 0.07, 0.08, 0.16, 0.11)
_MONTH_EFFECTS = (-0.3, -0.7, -0.2, -0.1, -0.2, -0.3, 0.0, 0.0, 0.1, 0.2, 0.6, 0.1)
_VISITORS = ("returning", "new", "guest")
_VISITOR_SHARES = (0.80, 0.17, 0.03)
_SOURCES = ("search", "direct", "email", "social", "affiliate", "advert")
_SOURCE_SHARES = (0.38, 0.24, 0.12, 0.12, 0.06, 0.08)
_SOURCE_EFFECTS = (0.1, 0.2, 0.5, -0.7, 0.0, -0.3)
_DEVICES = ("desktop", "mobile", "tablet")
_DEVICE_SHARES = (0.52, 0.40, 0.08)
_DEVICE_EFFECTS = (0.2, -0.3, 0.0)


def generate_sessions(rows: int = ROWS, seed: int = 42) -> pd.DataFrame:
    """Return ``rows`` sessions, one a row.

    Args:
        rows: How many sessions.
        seed: The seed of the random numbers; the same seed gives the same table.

    Returns:
        A table of 16 features and the target ``purchase`` (0 or 1, about 15.5 % ones). Durations are in seconds, rates
        are shares from 0 to 1. About 2 % of the traffic sources and of the region codes are missing.
    """
    import numpy as np
    import pandas as pd

    rng = np.random.default_rng(seed)
    month = rng.choice(len(_MONTHS), rows, p=_MONTH_SHARES)
    visitor = rng.choice(len(_VISITORS), rows, p=_VISITOR_SHARES)
    source = rng.choice(len(_SOURCES), rows, p=_SOURCE_SHARES)
    device = rng.choice(len(_DEVICES), rows, p=_DEVICE_SHARES)
    weekend = rng.random(rows) < 0.23
    # The days before a gift-giving holiday draw visitors who look around more than they buy.
    special_day = np.where(np.isin(month, (1, 4)) & (rng.random(rows) < 0.5), rng.integers(1, 6, rows) / 5.0, 0.0)

    intent = (
        rng.normal(0.0, 1.0, rows)
        + np.take(_MONTH_EFFECTS, month)
        + np.take(_SOURCE_EFFECTS, source)
        + np.take(_DEVICE_EFFECTS, device)
        + np.where(visitor == 1, 0.35, 0.0)
        + np.where(weekend, 0.1, 0.0)
        - 0.5 * special_day
    )

    # A new visitor looks at fewer pages, for longer; interest widens and lengthens every visit.
    product_pages = rng.poisson(np.exp(2.7 + 0.35 * intent + 0.25 * (visitor == 0) + rng.normal(0.0, 0.75, rows))) + 1
    account_pages = rng.poisson(np.exp(0.3 + 0.3 * intent + rng.normal(0.0, 0.8, rows)))
    info_pages = rng.poisson(np.exp(-1.2 + 0.2 * intent + rng.normal(0.0, 0.9, rows)))
    seconds_a_page = np.exp(3.4 + 0.08 * intent + 0.15 * (device == 0) + rng.normal(0.0, 0.5, rows))
    product_seconds = product_pages * seconds_a_page
    account_seconds = account_pages * np.exp(3.3 + rng.normal(0.0, 0.7, rows))
    info_seconds = info_pages * np.exp(3.5 + rng.normal(0.0, 0.8, rows))

    pages = product_pages + account_pages + info_pages
    exit_rate = np.clip(0.012 + 0.16 / np.sqrt(pages) * np.exp(-0.25 * intent + rng.normal(0.0, 0.35, rows)), 0.0, 0.2)
    bounce_rate = np.where(rng.random(rows) < 0.45, 0.0, exit_rate * rng.beta(2.0, 3.0, rows))

    # The average value of the pages seen: most sessions see none that ever led to a sale.
    sees_value = rng.random(rows) < 1.0 / (1.0 + np.exp(-(-1.9 + 1.15 * intent + 0.25 * np.log(pages))))
    page_value = np.where(sees_value, np.exp(2.2 + 0.45 * intent + rng.normal(0.0, 0.8, rows)), 0.0)

    score = (
        1.05 * np.log1p(page_value)
        + 0.45 * intent
        + 0.20 * np.log(pages)
        - 9.0 * exit_rate
        + np.where((visitor == 1) & sees_value, 0.8, 0.0)
        - np.where((device == 1) & (product_seconds > 1500), 0.5, 0.0)
    )
    probability = 1.0 / (1.0 + np.exp(-1.35 * (score - _offset(score))))
    purchase = (rng.random(rows) < probability).astype("int64")

    traffic_source = pd.Series(np.take(_SOURCES, source), dtype="str").where(rng.random(rows) >= 0.02)
    region = pd.Series(rng.choice(9, rows, p=(0.38, 0.09, 0.19, 0.10, 0.03, 0.07, 0.06, 0.04, 0.04)) + 1.0)
    return pd.DataFrame(
        {
            "month": pd.Series(np.take(_MONTHS, month), dtype="str"),
            "weekend": weekend,
            "special_day": special_day,
            "visitor_type": pd.Series(np.take(_VISITORS, visitor), dtype="str"),
            "traffic_source": traffic_source,
            "device": pd.Series(np.take(_DEVICES, device), dtype="str"),
            "region": region.where(rng.random(rows) >= 0.02),
            "product_pages": product_pages,
            "product_seconds": product_seconds.round(1),
            "account_pages": account_pages,
            "account_seconds": account_seconds.round(1),
            "info_pages": info_pages,
            "info_seconds": info_seconds.round(1),
            "bounce_rate": bounce_rate.round(5),
            "exit_rate": exit_rate.round(5),
            "page_value": page_value.round(3),
            TARGET: purchase,
        }
    )


def _offset(score: object) -> float:
    """Return the shift of ``score`` with which the expected share of purchases is ``PURCHASE_SHARE`` (by bisection)."""
    import numpy as np

    values = np.asarray(score)
    low, high = float(values.min()) - 10.0, float(values.max()) + 10.0
    for _ in range(60):
        middle = (low + high) / 2
        if np.mean(1.0 / (1.0 + np.exp(-1.35 * (values - middle)))) > PURCHASE_SHARE:
            low = middle
        else:
            high = middle
    return (low + high) / 2
