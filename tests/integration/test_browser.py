"""What a person sees: MLflow's UI in a browser, with the runs, the pictures and the registry of this stack."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import mlflow
import pytest
from mlflow import MlflowClient
from playwright.sync_api import Browser, Locator, expect

from .browser import Visit, visit
from .stack import ROOT, Stack, wait_until

# Milliseconds until a page has to show what is expected of it: a bound for a busy machine, not a promise.
expect.set_options(timeout=20_000)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from docker.models.containers import Container

# An experiment of its own: the list shows this sweep, whatever other tests track.
EXPERIMENT = "web_shop"
MODEL = "purchase-classifier"
FIGURES = ("average_precision", "roc_auc", "f1", "recall")


@pytest.fixture(scope="module")
def web_shop(program: str, stack: Stack) -> dict[str, Any]:
    """The standard sweep."""
    return stack.train("sweep", "--no-register", "--experiment", EXPERIMENT)


@pytest.fixture(scope="module")
def best(web_shop: dict[str, Any]) -> dict[str, Any]:
    """The sweep's best variant."""
    return next(variant for variant in web_shop["variants"] if variant["run_id"] == web_shop["best_run_id"])


@pytest.fixture(scope="module")
def champion(client: MlflowClient, best: dict[str, Any]) -> str:
    """The version of the registered model that is the best variant's, under its alias."""
    version = mlflow.register_model(best["model_uri"], MODEL)
    client.set_registered_model_alias(MODEL, "champion", version.version)
    return str(version.version)


@pytest.fixture(scope="module")
def address(client: MlflowClient, web_shop: dict[str, Any]) -> str:
    """Where the UI shows the sweep's experiment."""
    return f"experiments/{client.get_run(web_shop['run_id']).info.experiment_id}"


@pytest.fixture
def ui(browser: Browser, stack: Stack, outside: tuple[str, list[str]]) -> Iterator[Visit]:
    """A visit; in the end nothing was refused, nothing failed, and nothing was asked of another host."""
    with visit(browser, stack.url, outside[0]) as made:
        yield made
    assert made.problems == []
    assert outside[1] == [], "asked of the internet"


@pytest.fixture(scope="session")
def pictures(request: pytest.FixtureRequest) -> Path:
    """The folder for the screenshots (option --screenshots)."""
    folder = Path(cast("str", request.config.getoption("--screenshots")))
    folder = folder if folder.is_absolute() else ROOT / folder
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def test_home_page_lists_the_experiment(ui: Visit, web_shop: dict[str, Any]) -> None:
    ui.open("")
    expect(ui.page).to_have_title("Home - MLflow")
    expect(ui.page.get_by_role("link", name=EXPERIMENT)).to_be_visible()
    # It would cover a third of the window.
    expect(ui.page.get_by_text("Ask a question")).to_be_hidden()


def test_ui_works_behind_https_and_a_login(
    browser: Browser,
    stack: Stack,
    proxy: Container,
    outside: tuple[str, list[str]],
    web_shop: dict[str, Any],
    address: str,
) -> None:
    password = stack.exec("proxy", "bash", "-c", "user add browser </dev/null").strip()
    origin = f"https://localhost:{stack.port('proxy', 443)}"
    with visit(browser, origin, outside[0], login=("browser", password)) as ui:
        ui.open(f"{address}/runs")
        expect(row(ui, web_shop).get_by_text("sweep")).to_be_visible()
        assert ui.problems == []


def test_sweep_unfolds_into_its_variants(ui: Visit, web_shop: dict[str, Any], address: str, pictures: Path) -> None:
    ui.open(f"{address}/runs")
    expect(row(ui, web_shop).get_by_text("sweep")).to_be_visible()
    assert len(web_shop["variants"]) == 3
    for variant in web_shop["variants"]:
        expect(row(ui, variant)).to_have_count(0)
    unfold(ui, web_shop)
    show_columns(ui, FIGURES, without=["Dataset", "Source", "Models"])
    for variant in web_shop["variants"]:
        expect(row(ui, variant).get_by_role("link", name=variant["name"])).to_be_visible()
        for metric in FIGURES:
            cell = row(ui, variant).locator(f"[col-id='metrics.`{metric}`']")
            # The list leaves out the digits that do not fit in 64 bits.
            assert float(cell.inner_text()) == pytest.approx(variant["metrics"][metric])
    ui.screenshot(pictures / "mlflow_sweep.png", height=400)


def test_loss_is_drawn_iteration_by_iteration(
    ui: Visit, web_shop: dict[str, Any], address: str, pictures: Path
) -> None:
    """Loss of the variants is drawn iteration by iteration."""
    ui.open(f"{address}/runs?compareRunsMode=CHART")
    unfold(ui, web_shop)
    ui.page.get_by_placeholder("Search metric charts").fill("validation_log_loss")
    # The button of the card that makes it as large as the window; its name is only a picture.
    enlarge = ui.page.locator("[data-component-id=fullscreen_button_chartcard]")
    expect(enlarge).to_have_count(1)
    enlarge.click()
    chart = ui.page.get_by_role("dialog").locator(".js-plotly-plot")
    last_steps = "chart => Object.fromEntries(chart.data.map(line => [line.name, Math.max(...line.x)]))"
    expected = {variant["name"]: variant["iterations"] for variant in web_shop["variants"]}
    expect(chart).to_have_count(1)
    wait_until(lambda: expected.items() <= chart.evaluate(last_steps).items(), "the chart shows every iteration", 20)
    ui.screenshot(pictures / "mlflow_loss.png")


def test_run_shows_its_metrics(ui: Visit, best: dict[str, Any], address: str) -> None:
    ui.open(f"{address}/runs/{best['run_id']}")
    expect(ui.page.get_by_role("heading", name=best["name"])).to_be_visible()
    for metric in ("f1", "precision", "recall", "average_precision", "roc_auc", "log_loss"):
        row = ui.page.get_by_role("row").filter(has=ui.page.get_by_role("link", name=metric, exact=True))
        expect(row).to_contain_text(str(best["metrics"][metric]))


def test_run_shows_the_curve_out_of_the_bucket(ui: Visit, best: dict[str, Any], address: str, pictures: Path) -> None:
    ui.open(f"{address}/runs/{best['run_id']}/artifacts")
    ui.page.get_by_text("plots", exact=True).click()
    with ui.page.expect_response("**/get-artifact?*pr_curve.png*") as answer:
        ui.page.get_by_text("pr_curve.png", exact=True).click()
    assert answer.value.status == 200
    picture = ui.page.locator("img[alt*='pr_curve'], img[src^='blob:'], img[src*='pr_curve']").first
    expect(picture).to_be_visible()
    ui.page.wait_for_function("image => image.complete", arg=picture.element_handle())
    # As many pixels as the file has: it is drawn, not a broken image.
    assert picture.evaluate("image => [image.naturalWidth, image.naturalHeight]") == [960, 720]
    # The folder unfolds slowly: whoever could click its last file sees all six.
    ui.page.get_by_text("roc_curve.png", exact=True).click(trial=True)
    ui.screenshot(pictures / "mlflow_ui.png")


def test_registry_shows_the_version_with_its_alias(
    ui: Visit, best: dict[str, Any], champion: str, pictures: Path
) -> None:
    ui.open(f"models/{MODEL}/versions/{champion}")
    expect(ui.page.get_by_text("@ champion")).to_be_visible()
    expect(ui.page.get_by_role("link", name=best["name"])).to_be_visible()
    ui.screenshot(pictures / "mlflow_registry.png", height=490)
    ui.open("models")
    row = ui.page.get_by_role("row").filter(has_text=MODEL)
    expect(row).to_contain_text("champion")


def test_request_to_another_host_would_be_noticed(
    browser: Browser, stack: Stack, outside: tuple[str, list[str]]
) -> None:
    # Playwright sees what a page and its own workers ask for; what a shared worker asks for comes to the proxy.
    ask = "fetch('https://page.example/font').catch(() => null)"
    work = "fetch('https://worker.example/telemetry')"
    with visit(browser, stack.url, outside[0]) as made:
        made.open("")
        made.page.evaluate(f"{ask}; window.worker = new SharedWorker(URL.createObjectURL(new Blob([`{work}`])))")
        wait_until(lambda: made.page.title() and "worker.example:443" in outside[1], "the proxy is asked", 20)
        assert "leaves the stack: https://page.example/font" in made.problems
    outside[1].clear()


def row(ui: Visit, run: Mapping[str, Any]) -> Locator:
    """Returns a run's row in the list."""
    return ui.page.locator(f"[role=row][row-id='{run['run_id']}']")


def unfold(ui: Visit, run: Mapping[str, Any]) -> None:
    """Clicks the plus sign before a run's name."""
    row(ui, run).get_by_role("gridcell").filter(has_text="sweep").get_by_role("button").first.click()


def show_columns(ui: Visit, metrics: Sequence[str], without: Sequence[str]) -> None:
    """Chooses the columns of the list of runs, as a person does."""
    page = ui.page
    page.get_by_role("button", name="Columns").click()
    search = page.get_by_placeholder("Search columns")
    for name in (*metrics, *without):
        search.fill(name)
        page.locator("[role=tree], .ant-tree, [class*=tree]").get_by_text(name, exact=True).first.click()
    page.keyboard.press("Escape")
