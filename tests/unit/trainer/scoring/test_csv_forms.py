"""CSV as it comes: separators, decimal commas, no header, titles, words for missing values; alike in all commands."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from trainer.config.csv_form import CsvForm
from trainer.data.sources import load_data
from trainer.training.model_metadata import noted_form
from trainer.training.trained_on import TrainedOn
from trainer.util.errors import InputError

from ..conftest import Answer
from .scoring_files import Saved, read, save, score

Trainer = Callable[..., Answer]

CHANCE = np.random.default_rng(19)
ROWS = 400
X = CHANCE.normal(size=ROWS).round(3)
TABLE = pd.DataFrame(
    {
        "x": np.where(CHANCE.random(ROWS) < 0.1, np.nan, X),
        "region": CHANCE.choice(["EU", "NA", "AS"], ROWS),
        "flag": CHANCE.random(ROWS) < 0.5,
        "y": (X + CHANCE.normal(size=ROWS) > 0).astype(int),
    }
)


@dataclass(frozen=True)
class Form:
    """A way to write the table: the file's name, the form, and its options on the command line."""

    name: str
    form: CsvForm
    options: tuple[str, ...]

    def write(self, folder: Path, table: pd.DataFrame) -> Path:
        """Write a table in this form."""
        form, path = self.form, folder / self.name
        word = form.missing[0] if form.missing else ""
        text = table.to_csv(
            index=False,
            sep=form.separator_of(path),
            decimal=form.decimal,
            na_rep=word,
            header=form.header,
        )
        text = "".join(f"Report, part; {line}\n" for line in range(form.skip_lines)) + text
        path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
        return path


FORMS = [
    Form("t.csv", CsvForm(), ()),
    Form("t.csv", CsvForm(separator=";", decimal=","), ("--separator", ";", "--decimal", ",")),
    Form("t.csv", CsvForm(decimal=","), ("--decimal", ",")),
    Form("t.tsv", CsvForm(), ()),
    Form("t.tsv.gz", CsvForm(decimal=","), ("--decimal=,",)),
    Form("t.csv", CsvForm(separator="\t"), ("--separator", "tab")),
    Form("t.csv.gz", CsvForm(separator="|", skip_lines=2), ("--separator", "|", "--skip-lines", "2")),
    Form("t.csv", CsvForm(header=False), ("--no-header",)),
    Form(
        "t.csv", CsvForm(header=False, skip_lines=3, separator=";"), ("--no-header", "--skip-lines=3", "--separator=;")
    ),
    Form("t.csv", CsvForm(missing=("?", "not known")), ("--missing", "?,not known")),
    Form("t.csv", CsvForm(not_missing=("NA",)), ("--not-missing", "NA")),
]
each_form = pytest.mark.parametrize("form", FORMS, ids=lambda form: " ".join((form.name, *form.options)))


def table_for(form: Form) -> tuple[pd.DataFrame, str]:
    """Return the table with the names that it has in a form, and its target's name."""
    if form.form.header:
        return TABLE, "y"
    names = [f"column_{place}" for place in range(1, 5)]
    return TABLE.set_axis(names, axis=1), "column_4"


@each_form
def test_form_reads_as_the_plain_table(tmp_path: Path, form: Form) -> None:
    """The data is that of the table as pandas holds it: only the words for missing values differ."""
    table, target = table_for(form)
    dataset = load_data(form.write(tmp_path, table), target=target, csv=form.form)
    kept = "NA" in form.form.not_missing
    expected = table if kept else table.replace("NA", None)
    whole = dataset.whole()
    assert list(dataset.column_types.values()) == ["number", "text", "boolean"]
    for name in dataset.column_types:
        assert [None if pd.isna(value) else value for value in whole.features[name]] == [
            None if pd.isna(value) else value for value in expected[name]
        ]
    assert whole.target.tolist() == table[target].tolist()
    assert any("--not-missing NA" in warning for warning in dataset.warnings) == (not kept)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Form], Saved]:
    """Return a function that trains on the table in a form; once for each."""
    made: dict[Form, Saved] = {}

    def of(form: Form) -> Saved:
        if form not in made:
            folder = tmp_path_factory.mktemp("form")
            table, target = table_for(form)
            dataset = load_data(form.write(folder, table), target=target, csv=form.form)
            made[form] = save(dataset, folder / "model")
        return made[form]

    return of


@pytest.mark.slow
@each_form
def test_model_remembers_how_its_files_are_written(tmp_path: Path, saved: Callable[[Form], Saved], form: Form) -> None:
    """Scoring a file of the same form needs no option, and gives what the model says to the same values in Parquet."""
    table, target = table_for(form)
    model = saved(form)
    scores = score(model, form.write(tmp_path, table.drop(columns=target)), tmp_path / "scores.csv")
    table.drop(columns=target).to_parquet(tmp_path / "t.parquet")
    again = score(model, tmp_path / "t.parquet", tmp_path / "again.csv")
    assert scores.equals(again)
    # A category that is none, or a missing value that is read as a category, would show here.
    assert scores["probability"].tolist() == model.expected(table)[0] or form.form.note()


@pytest.mark.slow
def test_other_form_than_the_models_is_named(tmp_path: Path, saved: Callable[[Form], Saved]) -> None:
    """The option that is needed is named in one line, and with it the file is scored."""
    plain, european, bare, titled = FORMS[0], FORMS[1], FORMS[7], FORMS[6]
    features = TABLE.drop(columns="y")
    for model, written, words, csv in (
        (plain, european, "--separator semicolon", {"separator": ";", "decimal": ","}),
        (plain, FORMS[5], "--separator tab", {"separator": "\t"}),
        (european, plain, "--separator comma", {"separator": ",", "decimal": "."}),
        (plain, FORMS[2], "(--decimal , reads it)", {"decimal": ","}),
        (FORMS[2], plain, "(--decimal . reads it)", {"decimal": "."}),
        (plain, bare, "(--no-header, if the first line is a row)", None),
        (bare, plain, "(--header, if the first line names the columns)", None),
        (plain, titled, "--separator pipe", None),
        (titled, Form("u.csv", CsvForm(separator="|"), ()), "(--skip-lines is 2: 0, if", {"skip_lines": 0}),
        (plain, FORMS[9], "'?' is not allowed", {"missing": ("?",)}),
    ):
        path = written.write(tmp_path, features.set_axis(["x", "region", "flag"], axis=1))
        with pytest.raises(InputError) as refused:
            score(saved(model), path, tmp_path / "out.csv")
        assert words in str(refused.value)
        assert "\n" not in str(refused.value)
        if csv is not None:
            assert len(score(saved(model), path, tmp_path / "out.csv", csv=csv)) == ROWS


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("x;y\n1,5;0\n", "separated by semicolons; expected commas (--separator semicolon)"),
        ("Sales, June\n\na,b,y\n1,2,0\n3,4,1\n", "2 fields, line 3 has 3; the first line must name the columns"),
        ("Sales, June\n\na,b,y\n1,2,0\n3,4,1\n", "--skip-lines 2 leaves it out"),
        ("# made by\n# a program\na,b,y\n1,2,0\n3,4,1\n", "a comment, --skip-lines 2 leaves it out"),
        ("Sales,,\na,b,y\n1,2,0\n3,4,1\n", "a title, --skip-lines 1 leaves it out"),
        ("\n\na,b,y\n1,2,0\n", "its first line is empty; it must name the columns (--skip-lines 2 leaves it out)"),
        ("5.1,3.5,0\n4.9,3.0,1\n", "(--no-header, if the first line is a row)"),
        ("1,1,0\n4,3,1\n", "'1' appears more than once; columns need names of their own (--no-header"),
    ],
)
def test_wrong_guess_names_the_option(tmp_path: Path, content: str, words: str) -> None:
    path = tmp_path / "t.csv"
    path.write_text(content)
    with pytest.raises(InputError) as refused:
        load_data(path, target="y")
    assert words in str(refused.value)


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ({"separator": ";;"}, "--separator: ';;' is not allowed"),
        ({"separator": "5"}, "--separator: '5' is not allowed"),
        ({"decimal": "'"}, '--decimal: "\'" is not allowed; write . or ,'),
        ({"missing": ("NA",), "not_missing": ("NA",)}, "'NA' is named by both --missing and --not-missing"),
    ],
)
def test_form_that_no_file_has_is_refused(form: dict[str, str], words: str) -> None:
    with pytest.raises(InputError) as refused:
        CsvForm(**form)  # type: ignore[arg-type]
    assert words in str(refused.value)


def test_note_of_another_program_is_the_usual_form() -> None:
    assert noted_form({"csv": {"separator": ";;", "decimal": 5}}) == CsvForm()
    assert noted_form({"csv": ["?"]}) == noted_form(None) == CsvForm()
    assert noted_form({"csv": CsvForm(separator=";", missing=("?",)).note()}) == CsvForm(separator=";", missing=("?",))


@pytest.mark.parametrize("place", [1, 8, 9, 10])
def test_commands_read_the_form_alike(workdir: Path, trainer: Trainer, place: int) -> None:
    """Train, predict, evaluate and promote: only the training needs the options."""
    form = FORMS[place]
    table, target = table_for(form)
    data = form.write(workdir, table)
    given = (*form.options, "--target", target, "--data", data)
    trained = trainer("train", *given, "--n-estimators", 12, "--register", "--json")
    assert trained.code == 0, trained.err
    uri, logged = trained.json["model_uri"], trained.json["metrics"]
    assert trainer("predict", "--model", uri, "--data", data, "--out", "scores.csv").code == 0
    assert len(read(workdir / "scores.csv")) == ROWS
    evaluated = trainer("evaluate", "--model", uri, "--data", data, "--json")
    assert evaluated.json["metrics"] == {name: logged[name] for name in evaluated.json["metrics"]}
    (workdir / "policy.yaml").write_text("minimum: false\n")
    promoted = trainer("promote", "--data", data, "--policy", "policy.yaml", "--json")
    assert promoted.code == 0, promoted.err
    found = promoted.json["metrics"]["version"]
    assert found == pytest.approx({name: logged[name] for name in found})
    done = trainer("sweep", *given, "--grid", "n_estimators=12", "--json", "--no-register")
    assert done.json["variants"][0]["metrics"]["average_precision"] == logged["average_precision"]


def test_champion_of_another_form_is_compared(workdir: Path, trainer: Trainer) -> None:
    """A champion that was trained on a plain file is scored on the same rows of a file with semicolons."""
    policy = workdir / "policy.yaml"
    policy.write_text("minimum: false\n")
    plain, european = Form("plain.csv", CsvForm(), ()), FORMS[1]
    for form, trees in ((plain, 12), (european, 13)):
        data = form.write(workdir, TABLE)
        given = (*form.options, "--target", "y", "--data", data)
        assert trainer("train", *given, "--n-estimators", trees, "--register").code == 0
        done = trainer("promote", "--data", data, "--policy", policy, "--json")
        assert done.code in (0, 3), done.err
    compared = done.json["metrics"]
    assert compared["champion"]["average_precision"] > 0
    assert "unseen rows" in json.dumps(done.json["constraints"])


def test_what_a_model_was_trained_on_has_its_form(saved: Callable[[Form], Saved]) -> None:
    import yaml

    folder = saved(FORMS[1]).folder
    metadata = yaml.safe_load((folder / "MLmodel").read_text())["metadata"]
    trained = TrainedOn.read(folder, metadata)
    assert trained is not None
    assert (trained.form, trained.target) == (FORMS[1].form, "y")
