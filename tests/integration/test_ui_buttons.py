"""The UI's buttons work with the limits as shipped: nothing that can be pressed makes the server or a page fail."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import pytest
import requests
from mlflow import MlflowClient
from playwright.sync_api import Browser, expect

from .browser import visit
from .buttons import Walk
from .load import load
from .stack import Stack

# What the UI is refused, or asks for in vain, and why that is right.
EXPECTED = {
    r"^404: \S+/users/list": "without MLflow's own login there are no users",
    r"^403: \S+/(gateway|mcp-servers|scorers?|webhooks|assistant|jobs|invoke)\b": "routes that are off by default",
    r"mlflow\.org/docs/": "a page without traces shows a video of MLflow's web site, which this browser does not reach",
    r"^console: Failed to load resource": "the browser's own line beside each of the others",
}

# An experiment and a registered model of its own.
TRACKED = ("--register", "--model-name", "buttons", "--experiment", "buttons")


@pytest.fixture
def client(crash_stack: Stack) -> MlflowClient:
    """MLflow's client for a stack that others do not look at: what is pressed here changes it."""
    crash_stack.wait_healthy()
    return MlflowClient(crash_stack.url, crash_stack.url)


@pytest.fixture
def no_demo(crash_stack: Stack) -> Iterator[None]:
    """No data of MLflow's demonstration, before and after."""
    address = f"{crash_stack.url}/ajax-api/3.0/mlflow/demo/delete"
    assert requests.post(address, json={}, timeout=240).ok
    yield
    assert requests.post(address, json={}, timeout=240).ok


def demo_experiment(crash_stack: Stack) -> str:
    """Returns the id of the experiment that MLflow's demonstration has made."""
    ((experiment,),) = crash_stack.sql("SELECT experiment_id FROM experiments WHERE name = 'MLflow Demo'")
    return str(experiment)


@contextmanager
def loggers(crash_stack: Stack, client: MlflowClient) -> Iterator[None]:
    """Eight clients at work, of which no request fails."""
    over = threading.Event()
    errors: Counter[str] = Counter()

    def work() -> None:
        while not over.is_set():
            # Each round registers models by the experiment's id.
            experiment = client.create_experiment(f"loggers {time.time()}")
            errors.update(load(crash_stack.url, experiment, 8, 5).errors)

    thread = threading.Thread(target=work, name="loggers")
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
    assert errors == Counter()


@pytest.mark.parametrize("situation", ["alone", "after a load", "beside eight loggers"])
def test_demo_starts(
    crash_stack: Stack,
    client: MlflowClient,
    browser: Browser,
    outside: tuple[str, list[str]],
    no_demo: None,
    situation: str,
) -> None:
    """The button makes an experiment with traces, prompts and evaluations, and its traces are shown."""
    if situation == "after a load":
        # The threads of all pools are there from now on.
        result = load(crash_stack.url, client.create_experiment(f"load {time.time()}"), 64, 5)
        assert result.errors == Counter()
    beside = loggers(crash_stack, client) if situation == "beside eight loggers" else nullcontext()
    said = len(crash_stack.logs("mlflow").splitlines())
    with beside, visit(browser, crash_stack.url, outside[0]) as ui:
        walk = Walk(ui, EXPECTED)
        ui.open("")
        with ui.page.expect_response("**/demo/generate", timeout=240_000) as answer:
            ui.page.get_by_role("button", name="Start Demo").click()
        assert answer.value.status == 200, answer.value.text()
        assert answer.value.json()["status"] == "created"
        ui.page.wait_for_url("**/experiments/**", timeout=30_000)
        demo = demo_experiment(crash_stack)
        walk.look_at(f"experiments/{demo}/traces")
        ui.open("")
        expect(ui.page.get_by_role("link", name="MLflow Demo").first).to_be_visible()
        assert walk.problems == []
    # What the server could not do for the demo it says only here.
    assert [line for line in crash_stack.logs("mlflow").splitlines()[said:] if "Failed to" in line] == []


def test_buttons_do_no_harm(
    crash_stack: Stack,
    client: MlflowClient,
    browser: Browser,
    outside: tuple[str, list[str]],
    no_demo: None,
    request: pytest.FixtureRequest,
) -> None:
    """The main pages' buttons are pressed, and the others looked at.

    With `--every-button` all pages' are, and those that a press brings up, to the third.
    """
    runs = [crash_stack.train("--n-estimators", "5", *TRACKED, "--seed", seed)["run_id"] for seed in ("1", "2")]
    experiment = client.get_run(runs[0]).info.experiment_id
    assert requests.post(f"{crash_stack.url}/ajax-api/3.0/mlflow/demo/generate", json={}, timeout=240).ok
    demo = demo_experiment(crash_stack)
    compared = f'runs=["{runs[0]}","{runs[1]}"]&experiments=["{experiment}"]'
    run = f"experiments/{experiment}/runs/{runs[0]}"
    walked = [
        "",
        "experiments",
        "prompts",
        "models",
        "models/buttons/versions/1",
        run,
        f"experiments/{experiment}/runs",
        "settings",
    ]
    further = [
        f"{run}/model-metrics",
        f"{run}/artifacts",
        "models/buttons",
        f"compare-runs?{compared}",
        f"experiments/{experiment}/models",
        f"experiments/{experiment}/traces",
        f"experiments/{demo}/traces",
        f'compare-experiments/s?experiments=["{experiment}","{demo}"]',
        *(f"experiments/{demo}/{place}" for place in ("chat-sessions", "datasets", "evaluation-runs", "judges")),
        *(f"experiments/{demo}/{place}" for place in ("prompts", "playground", "review-queue", "overview/usage")),
    ]
    every = request.config.getoption("--every-button")
    with visit(browser, crash_stack.url, outside[0]) as ui:
        walk = Walk(ui, EXPECTED, depth=3 if every else 1)
        # The others first: some presses remove what they show.
        for place in (*([] if every else further), "gateway", "admin", "account"):
            walk.look_at(place)
        for place in (*(further if every else []), *walked):
            before = len(walk.pressed)
            walk.page(place)
            assert len(walk.pressed) > before, f"nothing can be pressed at {place}"
        assert walk.problems == []
    assert len(walk.pressed) > 60, walk.pressed
