"""The trainer's own models are served taken apart, once they have shown that they answer as the model itself."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import weakref
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.ipc as ipc
import pyarrow.parquet as parquet
import pytest
import yaml
from trainer.config.csv_form import CsvForm
from trainer.config.variant import make_variant
from trainer.data.dataset import Dataset
from trainer.serving.body import Table
from trainer.serving.champion import ModelError, load
from trainer.serving.model_parts import NotOwnError, read_parts
from trainer.serving.prepare import Preparer
from trainer.serving.tree_model import TreeModel
from trainer.training.fit import fit_variant
from trainer.training.hard_rows import ROWS, hard_rows
from trainer.training.model import save_model

from .. import programs

PARQUET, ARROW = "application/vnd.apache.parquet", "application/vnd.apache.arrow.stream"


@pytest.fixture(scope="module")
def trees(saved: Path) -> TreeModel:
    """Return the small model taken apart."""
    return TreeModel.read(saved)


def probability(saved: Path, rows: pd.DataFrame) -> Any:
    return mlflow.sklearn.load_model(str(saved)).predict_proba(rows)[:, 1]


def as_json(rows: pd.DataFrame, **more: Any) -> bytes:
    return json.dumps({"dataframe_split": json.loads(rows.to_json(orient="split")), **more}).encode()


def test_hard_rows_are_answered_bit_for_bit(trees: TreeModel, saved: Path) -> None:
    hard = hard_rows(trees.parts.ranges)
    found, reached = trees.predict(Table(hard, ROWS))
    rows = pd.DataFrame(hard).fillna({"weekend": np.nan})
    assert np.array_equal(found.view(np.int64), probability(saved, rows).view(np.int64))
    assert np.array_equal(trees.classes(reached), mlflow.pyfunc.load_model(str(saved)).predict(rows))
    # They are hard: gaps and numbers beyond all bounds in every column of numbers, unknown texts.
    numbers = rows.select_dtypes("float64")
    assert numbers.isna().any().all()
    assert np.isinf(numbers).any().all()
    assert set(rows["month"].dropna()) - set(trees.parts.codes["month"])
    assert set(reached.tolist()) == {True, False}


def test_single_row_is_as_one_of_many(trees: TreeModel) -> None:
    """LightGBM answers a single row by another function than a matrix."""
    hard = hard_rows(trees.parts.ranges)
    together, _ = trees.predict(Table(hard, ROWS))
    alone = [
        trees.predict(Table({name: [values[row]] for name, values in hard.items()}, 1))[0][0] for row in range(ROWS)
    ]
    assert together.tolist() == alone


def changed_description(saved: Path, folder: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    shutil.copytree(saved, folder)
    described = yaml.safe_load((folder / "MLmodel").read_text())
    change(described)
    (folder / "MLmodel").write_text(yaml.safe_dump(described))
    return folder


def test_saved_model_carries_what_it_says(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is served without being loaded."""
    monkeypatch.setattr(mlflow.pyfunc, "load_model", lambda *_args: pytest.fail("it is loaded"))
    served = load(str(saved))
    assert served.trees is not None
    assert served.trees.parts.answers == served.trees.answers_digest()


@pytest.mark.parametrize("answers", [None, "0" * 64], ids=["older", "of another machine"])
def test_other_models_are_asked_themselves(saved: Path, tmp_path: Path, answers: str | None) -> None:
    folder = changed_description(
        saved, tmp_path / "model", lambda described: described["metadata"].update(answers_digest=answers)
    )
    asked = []

    class Noting(Preparer):
        def __call__(self, *arguments: Any) -> Any:
            asked.append(super().__call__(*arguments))
            return asked[-1]

    served = load(str(folder), preparer=Noting())
    assert served.trees is not None
    assert served.trees.answers_digest() == asked[0].digest


def test_differing_model_is_served_whole(saved: Path, tmp_path: Path, dataset: Dataset) -> None:
    """A model that answers otherwise when it is taken apart is asked by scikit-learn; probabilities are told, too."""
    folder = changed_description(
        saved, tmp_path / "model", lambda described: described["metadata"].pop("answers_digest")
    )

    class Wrong(Preparer):
        def __call__(self, *arguments: Any) -> Any:
            prepared = super().__call__(*arguments)
            assert prepared.digest is not None
            return type(prepared)(prepared.files, "0" * 64)

    served = load(str(folder), preparer=Wrong())
    assert served.trees is None
    assert served.model is None
    assert served.note == " by scikit-learn: taken apart it answers otherwise"
    assert served.own is served.frames
    rows = dataset.test.features.head(20)
    whole, apart = (
        model.answer(as_json(rows, params={"output": "probability"}), "application/json", "uri")
        for model in (served.own, TreeModel.read(saved))
        if model is not None
    )
    assert whole.body == apart.body


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda described: described.update(metadata=None), "the trainer did not make it"),
        (lambda described: described["metadata"]["columns"].update(month="number"), "its remainder|its columns of"),
        (lambda described: described["metadata"]["columns"].pop("month"), "it is built in another way"),
        (lambda described: described["flavors"]["python_function"].update(predict_fn="predict_proba"), "predict_fn"),
        (lambda described: described["flavors"]["python_function"].update(model_path="../x"), "its file is"),
    ],
)
def test_models_built_otherwise_are_not_taken_apart(
    saved: Path, tmp_path: Path, change: Callable[[dict[str, Any]], object], why: str
) -> None:
    folder = changed_description(saved, tmp_path / "model", change)
    with pytest.raises(NotOwnError, match=why):
        read_parts(folder)


@pytest.mark.parametrize("content", [b"", b"half of it", b"PK\x05\x06" + bytes(18)])
def test_file_that_is_none_is_not_taken_apart(saved: Path, tmp_path: Path, content: bytes) -> None:
    folder = changed_description(saved, tmp_path / "model", lambda _described: None)
    (folder / "model.skops").write_bytes(content)
    with pytest.raises(NotOwnError, match="it is built in another way"):
        read_parts(folder)
    with pytest.raises(ModelError):
        load(str(folder))


def test_probabilities_and_version_on_request(trees: TreeModel, saved: Path, dataset: Dataset) -> None:
    """Probabilities threshold and version on request."""
    rows = dataset.test.features.head(30)
    reply = trees.answer(as_json(rows, params={"output": "probability", "other": 1}), "application/json", "models:/m/3")
    content = json.loads(reply.body)
    assert content["probabilities"] == probability(saved, rows).tolist()
    assert content["predictions"] == [int(value >= content["threshold"]) for value in content["probabilities"]]
    assert content["threshold"] == mlflow.sklearn.load_model(str(saved)).threshold
    assert content["model_uri"] == "models:/m/3"
    plain = trees.answer(as_json(rows, params={"output": "class"}), "application/json", "")
    assert json.loads(plain.body) == {"predictions": content["predictions"]}


def test_unknown_output_is_refused(trees: TreeModel, dataset: Dataset) -> None:
    reply = trees.answer(as_json(dataset.test.features.head(1), params={"output": "odds"}), "application/json", "")
    assert reply.status == 400
    assert "params.output is 'odds'; it must be" in json.loads(reply.body)["message"]


def arrow(table: pa.Table, **options: Any) -> bytes:
    sink = pa.BufferOutputStream()
    with ipc.new_stream(sink, table.schema, options=ipc.IpcWriteOptions(**options)) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


@pytest.mark.parametrize("dictionary", [False, True], ids=["plain", "dictionary"])
def test_parquet_and_arrow_are_read(trees: TreeModel, dataset: Dataset, dictionary: bool) -> None:
    rows = dataset.test.features.head(40).copy()
    rows.loc[3, ["month", "page_value", "device"]] = None
    expected = trees.answer(as_json(rows), "application/json", "")
    assert expected.status == 200
    table = pa.Table.from_pandas(rows.astype({"region": "Int32"}), preserve_index=True)
    if dictionary:
        table = table.set_column(0, "month", table.column("month").dictionary_encode())
    sink = pa.BufferOutputStream()
    parquet.write_table(table, sink)
    assert trees.answer(bytes(sink.getvalue()), PARQUET, "") == expected
    assert trees.answer(arrow(table), ARROW, "") == expected


def test_arrow_that_cannot_be_bounded_is_refused(trees: TreeModel, dataset: Dataset) -> None:
    table = pa.Table.from_pandas(dataset.test.features.head(40))
    for compression in ("lz4", "zstd"):
        reply = trees.answer(arrow(table, compression=compression), ARROW, "")
        assert reply.status == 400
        assert "compressed" in json.loads(reply.body)["message"]
    encoded = table.set_column(0, "month", table.column("month").dictionary_encode())
    assert trees.answer(arrow(encoded, compression="zstd"), ARROW, "").status == 400


def test_parquet_that_grows_is_refused(trees: TreeModel) -> None:
    """A few bytes stand for five million rows."""
    sink = pa.BufferOutputStream()
    parquet.write_table(pa.table({"page_value": pa.nulls(5_000_000, pa.float64())}), sink)
    body = bytes(sink.getvalue())
    assert len(body) < 20_000
    reply = trees.answer(body, PARQUET, "")
    assert (reply.status, "more than" in json.loads(reply.body)["message"]) == (413, True)


@pytest.mark.parametrize("kind", [PARQUET, ARROW])
@pytest.mark.parametrize("body", [b"", b"PAR1", b"\xff\xff\xff\xff", b"\x00" * 100])
def test_what_is_no_table_is_refused(trees: TreeModel, kind: str, body: bytes) -> None:
    reply = trees.answer(body, kind, "")
    assert reply.status == 400
    assert "is not valid" in json.loads(reply.body)["message"]


def test_typed_columns_are_checked_too(trees: TreeModel, dataset: Dataset) -> None:
    rows = dataset.test.features.head(2)
    for name, value, says in (("weekend", 1.0, "true or false"), ("page_value", True, "numbers")):
        reply = trees.answer(arrow(pa.Table.from_pandas(rows.assign(**{name: value}))), ARROW, "")
        message = f"column {name!r} holds {value!r}; the model takes {says}"
        assert (reply.status, json.loads(reply.body)["message"]) == (400, message)


def test_model_gives_its_memory_back(saved: Path) -> None:
    served = load(str(saved))
    assert served.trees is not None
    left = weakref.ref(served.trees)
    del served
    assert left() is None


@pytest.mark.process
@pytest.mark.parametrize("older", [False, True], ids=["carries its answers", "older"])
def test_server_stays_small(saved: Path, tmp_path: Path, older: bool) -> None:
    """Neither the server nor a prediction imports what makes it large; an older model is asked in another process."""
    if older:
        saved = changed_description(
            saved, tmp_path / "model", lambda described: described["metadata"].pop("answers_digest")
        )
    example = saved / "serving_input_example.json"
    script = (
        "import json, sys\n"
        "import trainer.cli.serve, trainer.serving.application, trainer.serving.workers, uvicorn\n"
        "from trainer.serving.champion import load\n"
        f"served = load({str(saved)!r})\n"
        f"reply = served.trees.answer(open({str(example)!r}, 'rb').read(), 'application/json', '')\n"
        "print(reply.status, *(name for name in ('mlflow', 'pandas', 'sklearn', 'scipy', 'pyarrow', 'lightgbm')"
        " if name in sys.modules))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=300)
    assert done.stdout == "200\n", done.stderr


@pytest.mark.process
def test_unloadable_model_is_told(saved: Path, tmp_path: Path) -> None:
    """Model that cannot be loaded is told by the other process."""
    folder = changed_description(saved, tmp_path / "model", lambda _described: None)
    (folder / "model.skops").write_bytes(b"half of it")
    script = (
        "from trainer.serving.champion import ModelError, load\n"
        f"try: load({str(folder)!r})\n"
        "except ModelError as error: print(error)\n"
    )
    done = programs.run(["-c", script], timeout=300)
    assert done.stdout.startswith(f"{folder} cannot be loaded: its files are no model"), (done.stdout, done.stderr)


def test_word_for_a_missing_value_is_the_models(dataset: Dataset, tmp_path: Path) -> None:
    """A word that was named in training (--missing) is a missing value in CSV requests; in JSON, null is one."""
    named = replace(dataset, form=CsvForm(missing=("?",)))
    fitted = fit_variant(make_variant({"n_estimators": 5}).params, named, seed=1, validation_size=0.2)
    save_model(fitted.model, named, tmp_path / "m", run_id="0" * 32, model_id="m-" + "0" * 32, location="m")
    trees = TreeModel.read(tmp_path / "m")
    rows = dataset.test.features.head(3).astype(object)
    rows[dataset.columns("number")[0]] = None
    answers = [
        trees.answer(rows.to_csv(index=False, na_rep=word).encode(), "text/csv", "uri") for word in ("", "?", "!")
    ]
    assert [answer.status for answer in answers] == [200, 200, 400]
    assert answers[0] == answers[1]
