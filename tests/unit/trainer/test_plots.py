"""The pictures."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from trainer import metrics, plots


def draw(path: Path, target: np.ndarray, probability: np.ndarray, title: str = "baseline") -> Image.Image:
    threshold = metrics.best_f1_threshold(target, probability)
    figures = metrics.evaluate(target, probability, threshold)
    plots.pr_curve(path, target, probability, threshold, figures, title, "some data, 400 test rows")
    picture = Image.open(path)
    picture.load()
    return picture.convert("RGB")


def share_of(picture: Image.Image, colour: str) -> float:
    wanted = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)])
    return float(np.mean(np.abs(np.asarray(picture).astype(int) - wanted).max(axis=2) < 12))


def test_pr_curve_is_a_picture_of_the_right_size(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    target = (rng.random(400) < 0.2).astype(np.int64)
    picture = draw(tmp_path / "plots" / "pr_curve.png", target, np.clip(target * 0.4 + rng.random(400) * 0.6, 0, 1))
    assert picture.size == (1200, 900)
    assert share_of(picture, plots.BLUE) > 0.002
    assert share_of(picture, plots.ORANGE) > 0.0005
    assert share_of(picture, plots.GREY) > 0.0005


def test_better_curve_covers_more_of_the_picture(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    target = (rng.random(400) < 0.2).astype(np.int64)
    # The area under the curve is filled with a tint of blue; probe a point at 80 % recall and 80 % precision.
    good = draw(tmp_path / "good.png", target, target * 0.9 + rng.random(400) * 0.05)
    poor = draw(tmp_path / "poor.png", target, rng.random(400))
    assert good.getpixel((800, 330)) != (255, 255, 255)
    assert poor.getpixel((800, 330)) == (255, 255, 255)


@pytest.mark.parametrize("title", ["a" * 300, "$x$ and $y", "", "größer ≥ 5"])
def test_any_title_can_be_drawn(tmp_path: Path, title: str) -> None:
    target = np.array([0, 1, 0, 1])
    draw(tmp_path / "x.png", target, np.array([0.1, 0.9, 0.2, 0.3]), title)


def test_same_curve_gives_the_same_file(tmp_path: Path) -> None:
    target, probability = np.array([0, 1, 0, 1]), np.array([0.1, 0.9, 0.5, 0.3])
    draw(tmp_path / "a.png", target, probability)
    draw(tmp_path / "b.png", target, probability)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_pyplot_stays_unloaded() -> None:
    assert "matplotlib.pyplot" not in sys.modules
