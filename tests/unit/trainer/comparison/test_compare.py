"""Comparing runs: what differs, which is best, and a report that is one file and runs nothing."""

from __future__ import annotations

import base64
import re
import stat
import sys
from collections import Counter
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlflow import MlflowClient
from PIL import Image
from trainer import plots
from trainer.comparison import page, table
from trainer.comparison.compared_runs import ComparedRun, Comparison, direction, number
from trainer.comparison.plot_files import PlotFile
from trainer.plots import themes

Trainer = Callable[..., Any]
URI = "sqlite:///mlflow.db"
HOSTILE = "<script>alert(1)</script> [bold]\" ' &"


class Page(HTMLParser):
    """What a page consists of."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a tag."""
        self.tags.append(tag)
        self.attributes.extend(attrs)

    def handle_data(self, data: str) -> None:
        """Note text."""
        self.text += data


@pytest.fixture
def runs(workdir: Path) -> list[str]:
    """Return the ids of two finished runs and a failed one; the first two have a picture, the second a model."""
    # Absolute: MLflow keeps a store for each URI.
    uri = f"sqlite:///{workdir}/mlflow.db"
    client = MlflowClient(uri, uri)
    experiment = client.create_experiment("shop")
    found = []
    for index, (name, status) in enumerate((("small", "FINISHED"), (HOSTILE, "FINISHED"), ("late", "FAILED"))):
        run_id = client.create_run(experiment, run_name=name).info.run_id
        client.log_param(run_id, "num_leaves", 10 + index)
        client.log_param(run_id, "seed", 42)
        if status == "FINISHED":
            client.log_metric(run_id, "f1", 0.5 + index / 10)
            client.log_metric(run_id, "log_loss", 0.3 + index / 10)
            client.log_metric(run_id, "threshold", 0.4)
            Image.new("RGB", (4, 4), (index, 0, 0)).save(workdir / "curve.png")
            client.log_artifact(run_id, str(workdir / "curve.png"), "plots")
        client.set_terminated(run_id, status)
        found.append(run_id)
    client.create_registered_model("shop")
    client.create_model_version("shop", "somewhere", found[1])
    client.set_registered_model_alias("shop", "champion", "1")
    return found


def test_what_differs_and_what_is_best(trainer: Trainer, runs: list[str]) -> None:
    answer = trainer("compare", *runs, "--json")
    assert answer.code == 0, answer.err
    content = answer.json
    assert [run["run_id"] for run in content["runs"]] == runs
    assert content["differing_params"] == ["num_leaves"]
    # A threshold is neither good nor bad.
    assert content["best"] == {"f1": [runs[1]], "log_loss": [runs[0]]}


def test_table_shows_runs_and_marks_the_best(trainer: Trainer, runs: list[str]) -> None:
    answer = trainer("compare", *runs)
    lines = {line.split()[0]: line for line in answer.out.splitlines()}
    assert lines["run"].split()[1:] == runs
    assert lines["f1"].split()[1:] == ["0.5000", "0.6000", "*", "-"]
    assert lines["log_loss"].split()[1:] == ["0.3000", "*", "0.4000", "-"]
    assert lines["status"].split()[1:] == ["FINISHED", "FINISHED", "FAILED"]
    assert "seed" not in lines


def test_every_way_to_name_a_run(trainer: Trainer, runs: list[str]) -> None:
    for name in (runs[1], f"runs:/{runs[1]}", f"runs:/{runs[1]}/model", "models:/shop/1", "models:/shop@champion"):
        answer = trainer("compare", runs[0], name, "--json")
        assert [run["run_id"] for run in answer.json["runs"]] == runs[:2], name


def test_an_experiment_comes_best_first(trainer: Trainer, runs: list[str]) -> None:
    answer = trainer("compare", "--experiment", "shop", "--json")
    assert [run["run_id"] for run in answer.json["runs"]] == [runs[1], runs[0], runs[2]]
    assert trainer("compare", "--experiment", "shop").out.splitlines()[-1] == "ordered by f1"


def test_figure_that_is_no_number_comes_last(trainer: Trainer, runs: list[str], workdir: Path) -> None:
    uri = f"sqlite:///{workdir}/mlflow.db"
    MlflowClient(uri, uri).log_metric(runs[2], "f1", float("nan"))
    answer = trainer("compare", "--experiment", "shop", "--json")
    assert [run["run_id"] for run in answer.json["runs"]] == [runs[1], runs[0], runs[2]]


def test_replaced_report_keeps_its_permissions(trainer: Trainer, runs: list[str], workdir: Path) -> None:
    """Report that is replaced keeps its permissions."""
    (workdir / "report.html").touch(mode=0o600)
    assert trainer("compare", *runs, "--html", "report.html").code == 0
    assert stat.S_IMODE((workdir / "report.html").stat().st_mode) == 0o600


def test_report_is_one_file_without_scripts(trainer: Trainer, runs: list[str], workdir: Path) -> None:
    """Report is one file with pictures and without scripts."""
    (workdir / "report.html").write_text("older")
    answer = trainer("compare", *runs, "--html", "report.html")
    assert answer.code == 0, answer.err
    text = (workdir / "report.html").read_text()
    shown = Page(text)
    sources = [value for name, value in shown.attributes if name == "src"]
    assert len(sources) == 2
    for source in sources:
        assert source is not None
        assert base64.b64decode(source.removeprefix("data:image/png;base64,")).startswith(b"\x89PNG")
    assert "script" not in shown.tags
    assert "link" not in shown.tags
    assert HOSTILE in shown.text
    assert "0.6000 ★" in shown.text
    assert ("content", "default-src 'none'; img-src data:; style-src 'unsafe-inline'") in shown.attributes


@given(name=st.text(max_size=20), value=st.text(max_size=20), metric=st.floats(), path=st.text(max_size=20))
def test_a_report_holds_any_text_as_text(name: str, value: str, metric: float, path: str) -> None:
    run = ComparedRun("a" * 32, name, "FINISHED", "javascript:alert(1)", {"p": value}, {"f1": metric, name or "m": 1.0})
    other = ComparedRun("b" * 32, "other", "FAILED", None, {}, {"f1": 0.5})
    comparison = Comparison(name, (run, other), URI)
    plain = Page(page.render(Comparison("x", (other, other), URI), {}))
    shown = Page(page.render(comparison, {run.run_id: [PlotFile(path, "data:image/png;base64,")]}))
    assert set(shown.tags) <= {*plain.tags, "code", "figure", "figcaption", "img"}
    assert not [name for name, _ in shown.attributes if name.startswith("on") or name == "href"]


@pytest.mark.parametrize(
    ("metric", "sign"),
    [
        ("f1", 1),
        ("validation_average_precision", 1),
        ("roc_auc", 1),
        ("log_loss", -1),
        ("rmse", -1),
        ("threshold", None),
        ("validation_f1_std", None),
        ("fold_f1", None),
        ("recall/loss", 1),
        ("validation_f1_macro", 1),
        ("absolute_error_p90", -1),
        ("error_p50", None),
    ],
)
def test_direction_of_metrics(metric: str, sign: int | None) -> None:
    assert direction(metric) == sign


@pytest.mark.parametrize(
    ("other", "digest", "best", "warned"),
    [
        ({}, "t", {"f1", "validation_f1"}, []),
        ({"seed": "7"}, "t", {"f1"}, ["validation"]),
        ({"validation_size": "0.3"}, "t", {"f1"}, ["validation"]),
        ({"data_digest": "e"}, "u", set(), ["test", "validation"]),
        ({}, None, {"validation_f1"}, ["test"]),
    ],
)
def test_metrics_of_other_rows_are_not_compared(
    other: dict[str, str], digest: str | None, best: set[str], warned: list[str]
) -> None:
    """A run of another seed, size or file has metrics of its own test and validation rows."""
    params = {"data_digest": "d", "seed": "42", "validation_size": "0.2"}
    one = ComparedRun("a" * 32, "a", "FINISHED", None, params, {"f1": 0.5, "validation_f1": 0.5}, "t")
    two = ComparedRun("b" * 32, "b", "FINISHED", None, {**params, **other}, {"f1": 0.9, "validation_f1": 0.9}, digest)
    comparison = Comparison("runs", (one, two), URI)
    assert {name for name in comparison.metrics if comparison.best(name)} == best
    assert [warning.split()[2] for warning in comparison.warnings] == warned
    assert set(table.content(comparison)["best"]) == best
    assert all(warning in Page(page.render(comparison, {})).text for warning in comparison.warnings)


def test_wide_table_keeps_its_words(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Table that is wider than the terminal keeps its words."""
    runs = tuple(
        ComparedRun(
            letter * 32, f"run {letter}", "FINISHED", None, {f"parameter_{n}": letter for n in range(30)}, {"f1": 0.5}
        )
        for letter in "abc"
    )
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    table.show(Comparison("runs", runs, URI))
    shown = capsys.readouterr().out
    for word in (*(f"parameter_{n}" for n in range(30)), *(run.run_id for run in runs), "0.5000"):
        assert word in shown


@pytest.mark.parametrize("width", [80, 100])
@pytest.mark.parametrize(("count", "params"), [(2, 40), (3, 25), (12, 12), (60, 5)])
def test_many_parameters_fit_the_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], count: int, params: int, width: int
) -> None:
    """Each metric of each run is shown, before the parameters, and no line is broken by the terminal."""
    scores = ("average_precision", "f1", "log_loss", "roc_auc", "validation_average_precision", "validation_log_loss")
    runs = tuple(
        ComparedRun(
            f"{place:032x}",
            f"variant {place} of many with a name that says all of its parameters",
            "FINISHED",
            None,
            {f"a_long_parameter_{n:02}": f"{place + n / 8}" for n in range(params)},
            {score: (place + 1) / (100 + n) for n, score in enumerate(scores)},
        )
        for place in range(count)
    )
    monkeypatch.setenv("COLUMNS", f"{width}")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    table.show(Comparison("runs", runs, URI))
    shown = re.sub("\x1b[^m]*m", "", capsys.readouterr().out)
    assert max(map(len, shown.splitlines())) <= width
    for run in runs:
        assert run.run_id in shown
    cells = Counter(shown.split())
    for name in (*scores, *runs[0].params):
        assert name in cells
    for texts in (
        Counter(value for run in runs for value in run.params.values()),
        Counter(number(value) for run in runs for value in run.metrics.values()),
    ):
        assert texts <= cells
    assert shown.index("validation_log_loss") < shown.index("a_long_parameter_00")
    assert cells["*"] == len(scores) + 1


@given(st.floats())
def test_any_number_is_short(value: float) -> None:
    assert len(number(value)) <= 17


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "name runs or models"),
        (["0" * 32, "--experiment", "shop"], "one of the three"),
        (["0" * 32], "not found"),
        (["nonsense"], "'nonsense' is neither a run id"),
        (["models:/shop/7"], "models:/shop/7"),
        (["models:/shop@nobody"], "models:/shop@nobody"),
        (["--experiment", "shoop"], "there is no experiment 'shoop'"),
        (["--experiment", "shop", "--html", "report.txt"], "report.txt"),
        (["--experiment", "shop", "--html", "no/report.html"], "there is no folder"),
    ],
)
def test_wrong_usage_is_one_line_and_no_file(
    trainer: Trainer, runs: list[str], workdir: Path, arguments: list[str], words: str
) -> None:
    assert runs
    before = sorted(entry.name for entry in workdir.iterdir())
    answer = trainer("compare", *arguments)
    assert answer.code == 2
    assert words in answer.error
    assert sorted(entry.name for entry in workdir.iterdir()) == before


def test_a_server_out_of_reach_is_one_line(trainer: Trainer, tmp_path: Path) -> None:
    out = tmp_path / "report.html"
    options = ["--tracking-uri", "http://127.0.0.1:9", "--wait", 0, "--html", out]
    answer = trainer("compare", "0" * 32, *options)
    assert answer.code == 1
    assert "127.0.0.1:9" in answer.error
    assert not out.exists()


LONG = "0.037454011884736254"


def searched(*values: str) -> Comparison:
    """Return trials of a search, whose parameters have as many digits as a number can."""
    runs = tuple(
        ComparedRun(f"{n}" * 32, f"learning_rate={value} num_leaves={n}", "FINISHED" if n else "PRUNED", None,
                 {"learning_rate": value, "num_leaves": f"{n}"}, {"f1": 0.5 + n / 10})
        for n, value in enumerate(values)
    )  # fmt: skip
    return Comparison("search", runs, URI)


def test_long_numbers_are_short_and_told_apart() -> None:
    """Four digits are shown, or as many as tell a value from the others'; anything else is shown as it is."""
    found = searched(LONG, "0.5", "0.0374540999", "1e-05", "1234567.25")
    shown = [found.shown_param("learning_rate", run.params["learning_rate"]) for run in found.runs]
    assert shown == ["0.037454", "0.5", "0.0374541", "1e-05", "1234567"]
    assert found.shown_param("data", "2024.01.31") == "2024.01.31"


def test_long_numbers_leave_metrics_on_the_screen(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Terminal and report show short numbers; the exact ones are in the report's titles and in the JSON."""
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    found = searched(LONG, "0.63245532033675866")
    table.show(found)
    shown = capsys.readouterr().out
    assert LONG not in shown
    # Without the codes of colours.
    shown = re.sub("\x1b[^m]*m", "", shown)
    assert {"0.03745", "0.5000", "0.6000", "PRUNED"} <= set(shown.split())
    assert max(map(len, shown.splitlines())) <= 100
    report = Page(page.render(found, {}))
    assert LONG not in report.text
    assert "learning_rate=0.03745 num_leaves=0 (pruned)" in report.text
    assert ("title", LONG) in report.attributes
    assert table.content(found)["runs"][0]["params"]["learning_rate"] == LONG


@pytest.fixture
def drawn(workdir: Path) -> str:
    """Return the id of a run with plots of the trainer's, in both themes, and with files that only look like some."""
    uri = f"sqlite:///{workdir}/mlflow.db"
    client = MlflowClient(uri, uri)
    run_id = str(client.create_run(client.create_experiment("drawn"), run_name=HOSTILE).info.run_id)
    heading = plots.Heading(HOSTILE, "a & b <i>")
    curve = plots.learning_curve([0.7, 0.5, 0.4, 0.45], 4, heading)
    plots.write_plot(curve, workdir / "plots", "learning_curve", "both")
    broken = workdir / "plots" / "broken.png"
    plots.save(plots.draw(curve), broken, curve.text().replace('"losses":[', '"losses":["x",'))
    plots.save(plots.draw(curve), workdir / "plots" / "unknown.png", curve.text().replace("learning_curve", "other"))
    client.log_artifacts(run_id, str(workdir / "plots"), "plots")
    return run_id


def test_report_draws_plots_for_both_themes(trainer: Trainer, drawn: str, workdir: Path) -> None:
    """A plot is drawn once, as SVG with the page's colours; what only looks like a plot is shown as it is."""
    answer = trainer("compare", drawn, "--html", "report.html")
    assert answer.code == 0, answer.err
    text = (workdir / "report.html").read_text()
    shown = Page(text)
    assert shown.tags.count("svg") == 1
    assert shown.tags.count("img") == 2
    assert HOSTILE in shown.text
    assert "0.4000" in shown.text
    assert not {"script", "i", "style"} & set(shown.tags[shown.tags.index("svg") :])
    drawing = text[text.index("<svg") : text.index("</svg>")]
    assert "var(--plot-blue)" in drawing
    assert set(re.findall("#[0-9a-f]{6}", drawing)) == set()
    ids = re.findall(r' id="([^"]*)"', text)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'(?:href="#|url\(#)([^")]*)', text)) <= set(ids)
    assert all(f"--plot-{name}: {shade}" in text for name, shades in themes.COLOURS.items() for shade in shades)


def test_report_needs_no_network(trainer: Trainer, drawn: str, workdir: Path) -> None:
    """Nothing in the page has an address but its own data, and links that a reader follows."""
    assert trainer("compare", drawn, "--html", "report.html").code == 0
    text = (workdir / "report.html").read_text()
    for name, value in Page(text).attributes:
        if name in ("src", "href", "xlink:href", "srcset", "action", "data"):
            assert (value or "").startswith(("data:image/", "#")), (name, value)
    assert "http:" not in text
    assert "https:" not in text
    assert "@import" not in text
    assert all(address.startswith("#") for address in re.findall(r"url\(([^)]*)\)", text))
