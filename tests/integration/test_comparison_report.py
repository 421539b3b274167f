"""The report of a comparison in a browser: on a phone, on a dark screen, on paper, and without a network."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

PHONE, SMALL_PHONE = 360, 320


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a search, whose parameters have all the digits of a number; it needs no server."""
    folder = tmp_path_factory.mktemp("report")
    program = Path(sys.executable).with_name("trainer")

    def run(*args: str) -> str:
        options = ("--tracking-uri", f"sqlite:///{folder}/mlflow.db")
        done = subprocess.run([program, *args, *options], cwd=folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    space = ("--trials", "3", "--jobs", "1", "--storage", f"sqlite:///{folder}/trials.db", "--sampler", "random")
    (folder / "space.yaml").write_text("learning_rate: {low: 0.05, high: 0.3}\nreg_alpha: {low: 0.0, high: 1.0}\n")
    run("search", "--space", "space.yaml", *space, "--n-estimators", "15", "--experiment", "report", "--no-register")
    run("compare", "--experiment", "report", "--html", "report.html")
    return folder / "report.html"


def opened(browser: Browser, report: Path, width: int, scheme: str) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": width, "height": 740}, color_scheme=scheme, offline=True)  # type: ignore[arg-type]
    page = context.new_page()
    problems: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: problems.append(message.text))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(report.as_uri())
    yield page
    assert problems == []
    assert [address for address in asked if not address.startswith(("file:", "data:"))] == []
    context.close()


@pytest.mark.parametrize("width", [SMALL_PHONE, PHONE, 768, 1440])
def test_page_is_no_wider_than_the_screen(browser: Browser, report: Path, width: int) -> None:
    """Tables and plots are scrolled by themselves: the page never is, to the side."""
    for page in opened(browser, report, width, "light"):
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.locator("svg").count() >= 18
        boxes = page.locator("h1, h2, p, .scroll, figure, .plot").all()
        for box in (one.bounding_box() for one in boxes):
            assert box is not None
            assert box["x"] >= 0
            assert box["x"] + box["width"] <= width


def test_phone_shows_numbers_beside_names(browser: Browser, report: Path) -> None:
    """A run's name leaves room for its numbers; letters of a plot are as large as small print."""
    for page in opened(browser, report, PHONE, "light"):
        name = page.locator("tbody th").first.bounding_box()
        assert name is not None
        assert 100 < name["width"] < 0.5 * PHONE
        shown = page.locator(".scroll").first
        assert shown.evaluate("box => box.scrollWidth > box.clientWidth")
        sizes = page.locator("svg text").evaluate_all(
            "texts => texts.map(text => text.getBoundingClientRect().height).filter(height => height > 0)"
        )
        assert min(sizes) >= 9


@pytest.mark.parametrize(("scheme", "paper"), [("light", "rgb(255, 255, 255)"), ("dark", "rgb(21, 24, 28)")])
def test_plots_follow_the_theme(browser: Browser, report: Path, scheme: str, paper: str) -> None:
    for page in opened(browser, report, 1280, scheme):
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == paper
        grounds = page.locator("svg").evaluate_all(
            "all => all.map(svg => getComputedStyle(svg.querySelector('path')).fill)"
        )
        assert set(grounds) == {paper}


def test_print_is_light_and_whole(browser: Browser, report: Path) -> None:
    """On paper nothing is scrolled: each metric stands with its name, no plot is cut, and the ground is white."""
    for page in opened(browser, report, 1280, "dark"):
        # An A4 sheet without its margins, in pixels.
        page.set_viewport_size({"width": 703, "height": 1032})
        page.emulate_media(media="print", color_scheme="dark")
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        assert page.evaluate("document.documentElement.scrollWidth") <= 703
        ends = page.locator("td, th[scope=row], svg").evaluate_all(
            "all => all.map(one => one.getBoundingClientRect()).filter(box => box.width).map(box => box.right)"
        )
        assert max(ends) <= 703
        assert page.locator("figure").first.evaluate("one => getComputedStyle(one).breakInside") == "avoid"
        labels = page.locator("td").evaluate_all("all => all.map(cell => getComputedStyle(cell, '::before').content)")
        assert '"learning rate: "' in labels
        assert "none" not in labels
        assert len(page.pdf()) > 10_000
