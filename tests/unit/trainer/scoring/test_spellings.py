"""A value is read alike, or refused alike, wherever data meets a model: one table, and every way for each of its rows.

Each way answers with the score of a row in which one value is written as the table says. The model gives another score
for each value that the table knows, so that equal scores are equal values.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import click
import mlflow
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from mlflow.models.utils import _enforce_schema
from pyarrow import ipc, parquet
from sklearn.metrics import log_loss
from trainer.cli.options.data import SourceOptions
from trainer.cli.promote import promote_command
from trainer.cli.promotion_data import version_loader
from trainer.config.csv_form import CsvForm
from trainer.config.stream import Stream
from trainer.data.dataset import Dataset
from trainer.data.sources import load_data
from trainer.promotion import sandbox_child
from trainer.scoring import evaluate as evaluating
from trainer.scoring import predict as predicting
from trainer.scoring.evaluate import EvaluateRequest, evaluate_model
from trainer.scoring.loaded_model import load_model
from trainer.scoring.predict import PredictRequest, predict_file
from trainer.serving.frame_model import frame_model
from trainer.serving.own_model import OwnModel
from trainer.serving.tree_model import TreeModel
from trainer.training.trained_on import TrainedOn
from trainer.util.errors import InputError

from .scoring_files import Saved, save
from .spelling_table import EVEN, ODD, REFUSED, SPELLINGS, UNKNOWN, Spelling

pytestmark = pytest.mark.slow

FORMS = {
    "usual": CsvForm(),
    "words": CsvForm(missing=("?",), not_missing=("NA",)),
    "comma": CsvForm(separator=";", decimal=","),
}
#: What each column may be read as. The first is what the other columns hold.
VALUES: Mapping[str, list[Any]] = {
    "number": [1.0, 12.0, 0.5, 1000.0, np.inf, -np.inf, None],
    "flag": [True, False, None],
    "word": ["b", "a", "7", "true", "2026-05-06", "NA", ODD, EVEN, None],
}
#: Rows of each class in a labelled file.
HALF = 6
ROW = {name: values[0] for name, values in VALUES.items()}


def training_table() -> pd.DataFrame:
    """Return a table in which each value has another share of the positive class."""
    rows = []
    for name, values in VALUES.items():
        for place, value in enumerate(values):
            share = (place + 1 + 10 * list(VALUES).index(name)) / 30
            rows += [{**ROW, name: value, "y": int(number < 60 * share)} for number in range(60)]
    return pd.DataFrame(rows)


@dataclass(frozen=True)
class Kept:
    """A model, what it was trained on, and the score of each value by column."""

    saved: Saved
    form: CsvForm
    scores: dict[tuple[str, Any], float]
    #: The log loss of a file of half positive rows that all have a score.
    losses: dict[float, float]
    trees: OwnModel
    frames: OwnModel
    #: As MLflow loads it for anybody; a prediction changes nothing in it.
    loaded: Any


def written(table: pd.DataFrame, form: CsvForm, path: Path) -> Path:
    """Write a table as a CSV file of a form."""
    points = {name: table[name].map(lambda value: _with_decimal(value, form)) for name in table.columns}
    gap = "?" if form.missing else ""
    table.assign(**points).to_csv(path, index=False, sep=form.separator or ",", na_rep=gap)
    return path


def _with_decimal(value: Any, form: CsvForm) -> Any:
    return str(value).replace(".", form.decimal) if isinstance(value, float) and not np.isnan(value) else value


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Kept]:
    """Return a model for each form of CSV files."""
    found = {}
    for name, form in FORMS.items():
        folder = tmp_path_factory.mktemp(name)
        path = written(training_table(), form, folder / "train.csv")
        # Each value is to have a score of its own.
        exact: dict[str, Any] = {"min_child_samples": 1, "min_data_per_group": 1, "cat_smooth": 0, "cat_l2": 0}
        dataset = load_data(path, target="y", csv=form)
        saved = save(dataset, folder / "model", n_estimators=60, min_child_weight=0, **exact)
        assert saved.column_types == {"number": "number", "flag": "boolean", "word": "text"}
        scores = {}
        for column, values in VALUES.items():
            for value in [*values, *([UNKNOWN] if column == "word" else [])]:
                if value == "NA" and name != "words":
                    continue
                table = frame([{**ROW, column: value}])
                scores[column, value] = float(saved.fitted.model.predict_proba(table)[0, 1])
            # LightGBM puts what is infinite beside the largest and the smallest value.
            alike = (UNKNOWN, np.inf, -np.inf)
            of_column = [score for (of, value), score in scores.items() if of == column and value not in alike]
            assert len(set(of_column)) == len(of_column), (column, of_column)
        losses = {score: log_loss([0, 1] * HALF, [score] * 2 * HALF) for score in scores.values()}
        loaded = mlflow.pyfunc.load_model(str(saved.folder))
        frames = frame_model(loaded)
        assert frames is not None
        found[name] = Kept(saved, form, scores, losses, TreeModel.read(saved.folder), frames, loaded)
    return found


@pytest.fixture(autouse=True, scope="module")
def _loaded_once() -> Iterator[None]:
    """Load each of the models once: how a value is read does not depend on it, and it takes longer than a way does."""
    with pytest.MonkeyPatch.context() as patch:
        once = cache(load_model)
        for module in (predicting, evaluating):
            patch.setattr(module, "load_model", once)
        yield


def frame(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """Return rows as the model takes them."""
    table = pd.DataFrame(rows)
    flags = pd.Series([np.nan if flag is None else flag for flag in table["flag"]], dtype=object)
    words = pd.Series([np.nan if word is None else word for word in table["word"]], dtype="str")
    return table.assign(number=table["number"].astype("float64"), flag=flags, word=words)


# Files ----------------------------------------------------------------------------------------------------------------


def column_of(spelling: Spelling, name: str, rows: int) -> pa.Array:
    """Return a column of a typed table: the odd value in each row of its own column."""
    if name != spelling.column:
        return pa.array([ROW[name]] * rows)
    value = spelling.written
    return pa.concat_arrays([value] * rows) if isinstance(value, pa.Array) else pa.array([value] * rows)


def file_of(spelling: Spelling, form: CsvForm, folder: Path, *, labelled: bool = False, whole: bool = False) -> Path:
    """Write rows whose value is as the table says; labelled ones, or as the last one of a whole training table."""
    if spelling.format == "parquet":
        return _parquet_of(spelling, folder, labelled=labelled, whole=whole)
    odd = pd.DataFrame([{**ROW, spelling.column: spelling.written}] * (2 * HALF if labelled else 1)).astype(object)
    if labelled:
        odd["y"] = [0, 1] * HALF
    if whole:
        odd = pd.concat([training_table().astype(object), odd.assign(y=1)])
    return written(odd, form, folder / "odd.csv")


def _parquet_of(spelling: Spelling, folder: Path, *, labelled: bool, whole: bool) -> Path:
    rows = 2 * HALF if labelled else 1
    arrays = {name: column_of(spelling, name, rows) for name in VALUES}
    if labelled:
        arrays["y"] = pa.array([0, 1] * HALF)
    if whole:
        # A column has one type: the odd one is all of its kind, and the classes are told apart by the others.
        table = training_table()
        arrays = {name: pa.array(table[name], from_pandas=True) for name in VALUES}
        arrays[spelling.column] = pa.concat_arrays([spelling.written] * len(table))
        arrays["y"] = pa.array(table["y"].tolist())
    parquet.write_table(pa.table(arrays), folder / "odd.parquet")
    return folder / "odd.parquet"


# The ways: each returns the score of the odd row, or REFUSED ----------------------------------------------------------

Way = Callable[[Spelling, Kept, Path], "float | str"]


def score_of(kept: Kept, dataset: Dataset, row: int) -> float:
    """Return the score of a row of data as it was read."""
    return float(kept.saved.fitted.model.predict_proba(dataset.whole().features.iloc[[row]])[0, 1])


def training(spelling: Spelling, kept: Kept, folder: Path) -> float | str:
    """The value among others like it, in a file to train on: a column that becomes one of another type refuses it."""
    path = file_of(spelling, kept.form, folder, whole=True)
    categorical = ("word",) if spelling.format == "parquet" and spelling.column == "word" else ()
    try:
        dataset = load_data(path, target="y", csv=kept.form, categorical=categorical)
    except InputError:
        return REFUSED
    kinds = {spelling.column: kept.saved.column_types[spelling.column]}
    found = {spelling.column: dataset.column_types[spelling.column]}
    if found != kinds and found[spelling.column] != "unknown":
        return REFUSED
    return score_of(kept, dataset, dataset.rows - 1) if spelling.format == "csv" else _alone(kept, dataset, spelling)


def _alone(kept: Kept, dataset: Dataset, spelling: Spelling) -> float:
    value = dataset.whole().features[spelling.column].iloc[0]
    table = frame([{**ROW, spelling.column: None if pd.isna(value) else value}])
    return float(kept.saved.fitted.model.predict_proba(table)[0, 1])


def predict(spelling: Spelling, kept: Kept, folder: Path) -> float | str:
    path = file_of(spelling, kept.form, folder)
    try:
        predict_file(PredictRequest(str(kept.saved.folder), path, folder / "out.parquet"))
    except InputError:
        return REFUSED
    return float(pd.read_parquet(folder / "out.parquet")["probability"].iloc[0])


def evaluate(spelling: Spelling, kept: Kept, folder: Path, stream: Stream = "never") -> float | str:
    """The loss tells the score: half of the rows are positive."""
    path = file_of(spelling, kept.form, folder, labelled=True)
    try:
        done = evaluate_model(EvaluateRequest(str(kept.saved.folder), path, all_rows=True, stream=stream))
    except InputError:
        return REFUSED
    (found,) = {score for score, loss in kept.losses.items() if abs(loss - done.metrics["log_loss"]) < 1e-12}
    return found


def evaluate_in_passes(spelling: Spelling, kept: Kept, folder: Path) -> float | str:
    """Of a table that is not held in memory."""
    return evaluate(spelling, kept, folder, "always")


def promote(spelling: Spelling, kept: Kept, folder: Path, stream: Stream = "never") -> float | str:
    """The data as the command reads it, and the process that scores it."""
    path = file_of(spelling, kept.form, folder, labelled=True)
    options = SourceOptions(None, None, None, None, None, None, path, None, None, 0.2, 42, stream)
    try:
        with click.Context(promote_command):
            dataset = version_loader(options)(TrainedOn.read(kept.saved.folder, kept.loaded.metadata.metadata))
    except InputError:
        return REFUSED
    for number, part in enumerate(dataset.whole().parts()):
        part.to_parquet(folder / f"part-{number}.parquet", index=False)
    sandbox_child._score(kept.loaded, map(pd.read_parquet, sorted(folder.glob("part-*.parquet"))), folder)
    return float(np.load(folder / "probability.npy")[0, 1])


def promote_in_passes(spelling: Spelling, kept: Kept, folder: Path) -> float | str:
    """Of a table that is not held in memory."""
    return promote(spelling, kept, folder, "always")


def pyfunc(spelling: Spelling, kept: Kept, folder: Path) -> float | str:
    """Another's program with MLflow and pandas alone, which may refuse more, but reads nothing otherwise."""
    if spelling.format == "json":
        table = pd.DataFrame([{**ROW, spelling.column: spelling.written}])
    else:
        path = file_of(spelling, kept.form, folder)
        form = kept.form
        how: dict[str, Any] = {"sep": form.separator or ",", "decimal": form.decimal, "na_values": list(form.missing)}
        table = pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path, **how)
    try:
        checked: Any = _enforce_schema(table, kept.loaded.metadata.get_input_schema())
        return float(kept.loaded.get_raw_model().predict_proba(checked)[0, 1])
    except Exception:  # noqa: BLE001 - whatever MLflow, pandas and LightGBM raise
        return REFUSED


def served(spelling: Spelling, kept: Kept, folder: Path) -> float | str:
    """Taken apart into trees and by scikit-learn, in all forms of a request."""
    found = {
        _answered(model.answer(body, kind, ""))
        for model in (kept.trees, kept.frames)
        for body, kind in _bodies(spelling, kept, folder)
    }
    assert len(found) == 1, found
    return found.pop()


def _bodies(spelling: Spelling, kept: Kept, folder: Path) -> list[tuple[bytes, str]]:
    if spelling.format == "json":
        row = {**ROW, spelling.column: spelling.written}
        forms: dict[str, Any] = {
            "dataframe_records": [row],
            "instances": [row],
            "dataframe_split": {"columns": list(row), "data": [list(row.values())]},
            "inputs": {name: [value] for name, value in row.items()},
        }
        params = {"params": {"output": "probability"}}
        return [(json.dumps({form: value, **params}).encode(), "application/json") for form, value in forms.items()]
    path = file_of(spelling, kept.form, folder)
    if spelling.format == "csv":
        return [(path.read_bytes(), "text/csv")]
    sink = pa.BufferOutputStream()
    table = parquet.read_table(path)
    with ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    return [
        (path.read_bytes(), "application/vnd.apache.parquet"),
        (sink.getvalue().to_pybytes(), "application/vnd.apache.arrow.stream"),
    ]


def _answered(reply: Any) -> float | str:
    if reply.status == 200:
        return float(reply.scores[0])
    assert reply.status == 400
    assert "the model takes" in json.loads(reply.body)["message"]
    return REFUSED


FILES: list[Way] = [training, predict, evaluate, evaluate_in_passes, promote, promote_in_passes]


@pytest.mark.parametrize("spelling", SPELLINGS, ids=str)
def test_value_is_read_alike(spelling: Spelling, kept: dict[str, Kept], tmp_path: Path) -> None:
    its = kept[spelling.form]
    expected = REFUSED if spelling.read == REFUSED else its.scores[spelling.column, spelling.read]
    ways = {way.__name__: way(spelling, its, tmp_path) for way in (FILES if spelling.format != "json" else [])}
    # Requests have commas between fields, and points.
    if not (spelling.format == "csv" and its.form.separator):
        ways["served"] = served(spelling, its, tmp_path)
    assert ways == dict.fromkeys(ways, expected)
    assert pyfunc(spelling, its, tmp_path) in (expected, REFUSED, *in_python(spelling, its))


def test_identifiers_beside_gaps_are_read_alike(kept: dict[str, Kept], tmp_path: Path) -> None:
    """In a typed column that has missing values, of which pandas makes decimals."""
    its = kept["usual"]
    expected = [its.scores["word", value] for value in (ODD, None, EVEN)]
    words = pa.array([int(ODD), None, int(EVEN)])
    table = pa.table({**{name: [ROW[name]] * 3 for name in ("number", "flag")}, "word": words})
    parquet.write_table(table, tmp_path / "t.parquet")
    predict_file(PredictRequest(str(its.saved.folder), tmp_path / "t.parquet", tmp_path / "out.parquet"))
    assert pd.read_parquet(tmp_path / "out.parquet")["probability"].tolist() == expected
    for model in (its.trees, its.frames):
        reply = model.answer((tmp_path / "t.parquet").read_bytes(), "application/vnd.apache.parquet", "")
        assert reply.scores is not None
        assert reply.scores.tolist() == expected
        rows = {"columns": table.column_names, "data": [list(row.values()) for row in table.to_pylist()]}
        reply = model.answer(json.dumps({"dataframe_split": rows}).encode(), "application/json", "")
        assert reply.scores is not None
        assert reply.scores.tolist() == expected
    labelled = pa.concat_tables([table] * HALF * 2).append_column("y", pa.array([0, 1, 0] * HALF * 2))
    parquet.write_table(labelled, tmp_path / "l.parquet")
    done = evaluate_model(EvaluateRequest(str(its.saved.folder), tmp_path / "l.parquet", all_rows=True))
    assert done.metrics["log_loss"] == pytest.approx(log_loss([0, 1, 0], expected), abs=1e-12)


def in_python(spelling: Spelling, kept: Kept) -> list[float]:
    """Return what a value may be in a table in Python as well, where no code of this project sees it.

    LightGBM takes true for 1, and scikit-learn an object that is no text for a category that it does not know.
    """
    value = spelling.written
    typed = isinstance(value, pa.Array)
    if spelling.column != "number":
        known = typed and (pa.types.is_string(value.type) or pa.types.is_boolean(value.type))
        return [] if known or not typed else [kept.scores[spelling.column, None]]
    truth = str(value).lower() in ("true", "false") or (typed and pa.types.is_boolean(value.type))
    if not truth:
        return []
    table = frame([{**ROW, "number": float("true" in str(value).lower())}])
    return [float(kept.saved.fitted.model.predict_proba(table)[0, 1])]
