"""Scoring files: the same scores as the model's own, for any way of writing the same table, and bounded memory."""

from __future__ import annotations

import gzip
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mlflow import MlflowClient
from trainer.config.values import ColumnType
from trainer.data import demo
from trainer.data.arrow_columns import Feature, convert
from trainer.data.columns import convert_column
from trainer.data.dataset import Dataset
from trainer.data.demo import generate_sessions
from trainer.data.row_chunks import size
from trainer.data.sources import load_data
from trainer.scoring import loaded_model, sinks
from trainer.scoring.loaded_model import load_model
from trainer.scoring.predict import PredictRequest, predict_file
from trainer.scoring.scorers import ClassifierScorer, TreeScorer
from trainer.util.errors import InputError, TrainerError

from .. import programs
from .scoring_files import Saved, read, save, score, scorer_of

Trainer = Callable[..., Any]
ANY_TABLE = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def saved(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Saved:
    """Return a model of numbers, texts, booleans and gaps."""
    return save(dataset, tmp_path_factory.mktemp("saved") / "model")


@pytest.fixture(scope="module")
def rows(saved: Saved) -> pd.DataFrame:
    """Return rows that the model has not seen, with gaps in all columns and a text that it does not know."""
    table = generate_sessions(400, seed=99).drop(columns=demo.TARGET)
    for position, name in enumerate(table.columns):
        table[name] = table[name].astype(object)
        table.loc[position::37, name] = None
    text = saved.dataset.columns("text")[0]
    table.loc[5, text] = 'new, "quoted"\nand broken'
    return table


# Scores ---------------------------------------------------------------------------------------------------------------


@pytest.mark.process
def test_own_model_is_scored_without_pandas(saved: Saved) -> None:
    assert scorer_of(saved) is TreeScorer


@pytest.mark.parametrize("jobs", [1, 3])
@pytest.mark.parametrize("suffix", [".csv", ".csv.gz", ".parquet"])
def test_scores_are_the_models_own_bit_for_bit(
    saved: Saved, rows: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, jobs: int, suffix: str
) -> None:
    # Many chunks: some hold only gaps, or only whole numbers, in some column.
    monkeypatch.setattr(size, "BLOCK", 2_000)
    path = tmp_path / f"data{suffix}"
    if suffix == ".parquet":
        pd.DataFrame({name: convert_column(rows[name], kind) for name, kind in saved.column_types.items()}).to_parquet(
            path
        )
    else:
        rows.to_csv(path, index=False)
    scored = score(saved, path, tmp_path / "out.parquet", jobs=jobs)
    probability, classes = saved.expected(rows)
    assert scored["probability"].tolist() == probability
    assert scored["class"].tolist() == classes
    assert 0 < sum(classes) < len(classes)


def test_csv_output_reads_back_to_the_same_numbers(saved: Saved, rows: pd.DataFrame, tmp_path: Path) -> None:
    rows.to_csv(tmp_path / "data.csv", index=False)
    for name in ("out.csv", "out.csv.gz"):
        scored = pd.read_csv(score_file(saved, tmp_path / "data.csv", tmp_path / name))
        assert scored["probability"].tolist() == saved.expected(rows)[0]


def score_file(saved: Saved, path: Path, out: Path) -> Path:
    predict_file(PredictRequest(str(saved.folder), path, out))
    return out


@pytest.mark.slow
def test_scores_are_those_of_pyfunc(saved: Saved, table: pd.DataFrame, tmp_path: Path) -> None:
    import mlflow.pyfunc

    features = table.drop(columns=demo.TARGET)
    features.to_csv(tmp_path / "data.csv", index=False)
    scored = score(saved, tmp_path / "data.csv", tmp_path / "out.parquet")
    loaded = mlflow.pyfunc.load_model(str(saved.folder))
    assert scored["class"].tolist() == loaded.predict(features).tolist()


def test_what_was_read_for_training_scores_the_same(saved: Saved, table: pd.DataFrame, tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    table.to_csv(path, index=False)
    loaded = load_data(path, target=demo.TARGET)
    everything = pd.concat([loaded.train.features, loaded.test.features])
    scored = score(saved, path, tmp_path / "out.parquet")["probability"]
    assert sorted(scored) == sorted(saved.fitted.model.predict_proba(everything)[:, 1])


def test_similar_model_uses_its_own_methods(saved: Saved) -> None:
    """A model that only looks like ours is scored by its own methods."""
    loaded = load_model(saved.folder, "model")
    assert loaded.features is not None
    # Another order of the categories, as a hand-made model may have: the codes would be wrong.
    trees = TreeScorer.of(loaded.model, loaded.features)
    assert trees is not None
    trees._categories = {name: known[::-1] for name, known in trees._categories.items()}
    table = saved.dataset.test.features
    columns = {
        feature.name: convert(pa.array(table[feature.name], from_pandas=True), feature, 0, "", from_text=False)
        for feature in loaded.features
    }
    general = ClassifierScorer(loaded.model, loaded.features)
    assert not loaded_model._agree(trees, general, columns, len(table))


def test_order_and_unused_columns_do_not_matter(
    saved: Saved, rows: pd.DataFrame, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Column order and unused columns do not matter."""
    shuffled = rows[rows.columns[::-1]].assign(remark="x")
    shuffled.to_csv(tmp_path / "data.csv")
    scored = score(saved, tmp_path / "data.csv", tmp_path / "out.parquet")
    assert scored["probability"].tolist() == saved.expected(rows)[0]
    assert "does not use column remark" in capsys.readouterr().err


def test_digits_in_a_text_column_stay_text(tmp_path: Path) -> None:
    table = generate_sessions(500, seed=4)
    table["code"] = np.where(np.arange(500) % 2 == 0, "007", "x")
    table.loc[table[demo.TARGET] == 1, "code"] = "7"
    table.to_csv(tmp_path / "train.csv", index=False)
    saved = save(load_data(tmp_path / "train.csv", target=demo.TARGET), tmp_path / "model")
    assert saved.column_types["code"] == "text"
    # A whole file of digits: its own types would make a number of each.
    new = table[(table["code"] != "x")].drop(columns=demo.TARGET).reset_index(drop=True)
    new.to_csv(tmp_path / "new.csv", index=False)
    scored = score(saved, tmp_path / "new.csv", tmp_path / "out.parquet")
    assert scored["probability"].tolist() == saved.expected(new)[0]


@pytest.mark.parametrize("held", ["int64", "Int64", "float64", "category", "string", "large"])
def test_text_columns_of_any_parquet_type(held: str) -> None:
    values: Any = pd.Series([3, 1, 3])
    if held == "category":
        values = values.astype(str).astype("category")
    elif held == "large":
        values = pa.array(["3", "1", "3"], pa.large_string())
    else:
        values = values.astype(held)
    column = pa.array(values, from_pandas=True) if held != "large" else values
    assert convert(column, Feature("a", "text"), 0, "", from_text=False).to_pylist() == ["3", "1", "3"]


# What is written ------------------------------------------------------------------------------------------------------


def test_kept_columns_are_copied_as_written(saved: Saved, tmp_path: Path) -> None:
    """Ids and kept columns are copied as they are written."""
    table = generate_sessions(50, seed=2).drop(columns=demo.TARGET).astype(object)
    table.insert(0, "id", [f"00{index}" for index in range(50)])
    table["remark"] = 'NA, "so"'
    table.loc[0, "remark"] = "NA"
    path = tmp_path / "data.csv"
    table.to_csv(path, index=False)
    by_id = score(saved, path, tmp_path / "out.csv", ids=("id", "remark"))
    assert list(by_id.columns) == ["id", "remark", "probability", "class"]
    assert (tmp_path / "out.csv").read_text().splitlines()[2].startswith('"001","NA, ""so""",')
    kept = pd.read_csv(score_kept(saved, path, tmp_path / "kept.csv"), dtype=str, keep_default_na=False)
    original = pd.read_csv(path, dtype=str, keep_default_na=False)
    pd.testing.assert_frame_equal(kept[list(original.columns)], original)
    assert kept["probability"].astype(float).tolist() == by_id["probability"].tolist()


def score_kept(saved: Saved, path: Path, out: Path) -> Path:
    predict_file(PredictRequest(str(saved.folder), path, out, keep=True))
    return out


def test_parquet_columns_keep_their_types(saved: Saved, rows: pd.DataFrame, tmp_path: Path) -> None:
    table = pd.DataFrame({name: convert_column(rows[name], kind) for name, kind in saved.column_types.items()})
    table["day"] = pd.Timestamp("2026-01-02")
    table["list"] = [[1]] * len(table)
    table.to_parquet(tmp_path / "data.parquet")
    kept = score(saved, tmp_path / "data.parquet", tmp_path / "out.parquet", keep=True)
    assert kept["day"].iloc[0] == pd.Timestamp("2026-01-02")
    assert len(kept) == len(table)
    with pytest.raises(InputError, match="CSV cannot hold column 'list'"):
        score(saved, tmp_path / "data.parquet", tmp_path / "out.csv", keep=True)
    assert not (tmp_path / "out.csv").exists()


def test_row_groups_are_large(saved: Saved, rows: pd.DataFrame, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(size, "BLOCK", 2_000)
    monkeypatch.setattr(sinks, "_GROUP", 150)
    rows.to_csv(tmp_path / "data.csv", index=False)
    assert len(score(saved, tmp_path / "data.csv", tmp_path / "out.parquet")) == 400
    sizes = pa.parquet.ParquetFile(tmp_path / "out.parquet").metadata
    assert sizes.num_row_groups <= 4


@pytest.mark.parametrize("name", ["out.csv", "out.csv.gz", "out.parquet"])
def test_a_bad_row_leaves_the_older_file(saved: Saved, tmp_path: Path, monkeypatch: Any, name: str) -> None:
    monkeypatch.setattr(size, "BLOCK", 2_000)
    table = generate_sessions(200, seed=2).drop(columns=demo.TARGET).astype(object)
    number = saved.dataset.columns("number")[0]
    table.loc[170, number] = "many"
    table.to_csv(tmp_path / "data.csv", index=False)
    (tmp_path / name).write_text("older")
    with pytest.raises(InputError, match=rf"data.csv: row 171, column '{number}': 'many' is not allowed"):
        score(saved, tmp_path / "data.csv", tmp_path / name, jobs=2)
    assert (tmp_path / name).read_text() == "older"
    assert sorted(entry.name for entry in tmp_path.iterdir()) == sorted(["data.csv", name])


#: Stops after the first chunk is written, until its standard input ends.
_STOPPING = """
import sys
from trainer.cli.main import main
from trainer.data.row_chunks import size
from trainer.scoring import sinks

def write_and_stop(sink, prepared, write=sinks.CsvSink.write):
    write(sink, prepared)
    sink._stream.flush()
    print("written", flush=True)
    sys.stdin.read()

size.BLOCK = 20_000
sinks.CsvSink.write = write_and_stop
main(["predict", *sys.argv[1:]])
"""


@pytest.mark.process
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_killed_process_leaves_the_older_file(saved: Saved, tmp_path: Path, number: signal.Signals) -> None:
    (tmp_path / "out.csv").write_text("older")
    generate_sessions(2_000, seed=2)[list(saved.column_types)].to_csv(tmp_path / "data.csv", index=False)
    options = ["--model", str(saved.folder), "--data", "data.csv", "--out", "out.csv", "--jobs", "2"]
    process = programs.start(["-c", _STOPPING, *options], cwd=tmp_path, stdin=subprocess.PIPE)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "written\n"
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    expected = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGKILL: -9}[number]
    assert process.returncode == expected, err
    if number != signal.SIGKILL:
        assert err.splitlines()[-1] == "trainer: error: interrupted"
    assert (tmp_path / "out.csv").read_text() == "older"
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["data.csv", "out.csv"]


@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize("true", ["true", "True", "TRUE", "tRue", '"TRUE"'])
def test_booleans_are_read_as_in_training(
    saved: Saved, rows: pd.DataFrame, tmp_path: Path, true: str, keep: bool
) -> None:
    name = saved.dataset.columns("boolean")[0]
    lines = [f"{name},y", *[f"{true},1", "fALSE,0", ",1"] * 5]
    (tmp_path / "train.csv").write_text("\n".join(lines))
    table = load_data(tmp_path / "train.csv", target="y")
    assert table.column_types == {name: "boolean"}
    assert set(table.train.features[name].dropna()) == {True, False}
    written = rows.assign(**{name: rows[name].map({True: true.strip('"'), False: "fALSE"})})
    written.to_csv(tmp_path / "data.csv", index=False)
    scored = score(saved, tmp_path / "data.csv", tmp_path / "out.parquet", keep=keep)
    assert scored["probability"].tolist() == saved.expected(rows)[0]


# Bad input ------------------------------------------------------------------------------------------------------------


def test_missing_columns_are_named(saved: Saved, rows: pd.DataFrame, tmp_path: Path) -> None:
    first, second = rows.columns[:2]
    rows.drop(columns=second).rename(columns={first: first.upper() + " "}).to_csv(tmp_path / "data.csv", index=False)
    with pytest.raises(InputError, match="lacks 2 columns") as caught:
        score(saved, tmp_path / "data.csv", tmp_path / "out.csv")
    assert f"{first}, {second}; is {first!r} the file's {first.upper() + ' '!r}?" in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "value", "word"),
    [("boolean", "maybe", "true or false"), ("boolean", "1", "true"), ("number", "1,5", "numbers")],
)
@pytest.mark.parametrize("keep", [False, True])
def test_a_bad_value_names_row_and_column(
    saved: Saved, tmp_path: Path, kind: ColumnType, value: str, word: str, keep: bool
) -> None:
    table = generate_sessions(30, seed=2).drop(columns=demo.TARGET).astype(object)
    name = saved.dataset.columns(kind)[0]
    table.loc[20, name] = value
    table.to_csv(tmp_path / "data.csv", index=False)
    with pytest.raises(InputError) as caught:
        score(saved, tmp_path / "data.csv", tmp_path / "out.csv", keep=keep)
    assert f"row 21, column {name!r}: {value!r} is not allowed; the model takes {word}" in str(caught.value)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"\n\n", "is empty"),
        (b"a,a\n1,2\n", "more than once"),
        (b"a;b\n1;2\n", "semicolons"),
        (b"a,b\n1,2\n", "lacks"),
        (b"\x00\x01\n", "not a text file"),
        (b"\xff\xfe,b\n", "UTF-8"),
    ],
)
def test_a_useless_file_is_one_line(saved: Saved, tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "data.csv").write_bytes(content)
    with pytest.raises(InputError, match=words):
        score(saved, tmp_path / "data.csv", tmp_path / "out.csv")
    assert not (tmp_path / "out.csv").exists()


def test_unknown_texts_are_warned_of(
    saved: Saved, rows: pd.DataFrame, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Texts that the model does not know are noted."""
    name = saved.dataset.columns("text")[0]
    given = int(rows[name].notna().sum())
    for changed, noted in ((rows, False), (rows.assign(**{name: rows[name].str.upper() + "!"}), True)):
        changed.to_parquet(tmp_path / "data.parquet")
        score(saved, tmp_path / "data.parquet", tmp_path / "out.csv")
        example = changed[name].dropna().iloc[0]
        remark = (
            f"column {name!r} holds texts in {given:,} of {given:,} rows that no training row has, such as {example!r}"
        )
        assert (remark in capsys.readouterr().err) is noted


def test_a_folder_without_parts_is_one_line(saved: Saved, tmp_path: Path) -> None:
    (tmp_path / "spark.parquet").mkdir()
    with pytest.raises(InputError, match=r"spark\.parquet: holds no table; expected files of"):
        score(saved, tmp_path / "spark.parquet", tmp_path / "out.csv")


def test_names_over_several_lines_are_read(tmp_path: Path) -> None:
    """Names over several lines are read as in training."""
    rows = [f"{row % 7},{row},{row % 2}" for row in range(60)]
    (tmp_path / "data.csv").write_text("\n".join(['"time\n(s), all",x,y', *rows]))
    saved = save(load_data(tmp_path / "data.csv", target="y"), tmp_path / "model")
    assert list(saved.column_types) == ["time\n(s), all", "x"]
    assert len(score(saved, tmp_path / "data.csv", tmp_path / "out.csv")) == 60


def test_commas_at_the_lines_ends_make_no_columns(saved: Saved, rows: pd.DataFrame, tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    rows.to_csv(path, index=False)
    plain = score(saved, path, tmp_path / "plain.csv")
    path.write_text("\n".join(f"{line},,," for line in path.read_text().splitlines()))
    pd.testing.assert_frame_equal(score(saved, path, tmp_path / "out.csv"), plain)
    with pytest.raises(InputError, match="several of its columns have no name"):
        score(saved, path, tmp_path / "out.csv", keep=True)


def test_broken_rows_are_one_line(saved: Saved, tmp_path: Path) -> None:
    path, out = tmp_path / "data.csv", tmp_path / "out.csv"
    generate_sessions(9, seed=2).drop(columns=demo.TARGET).to_csv(path, index=False)
    whole = path.read_bytes()
    header = whole.splitlines()[0]
    text = saved.dataset.columns("text")[0]
    row = dict.fromkeys(header.decode().split(","), b"")
    broken = b",".join({**row, text: b"\xff"}.values())
    for content, words in (
        (header, "no rows"),
        (whole + b"1,2\n", "row 10 has 2 fields, the header .*; complete it"),
        (whole + b'"' + b"x" * 3_000_000, "quote"),
        (whole + whole.partition(b"\n")[2] * 100 + broken + b"\n", f"column '{text}'.*UTF-8"),
    ):
        path.write_bytes(content)
        with pytest.raises(InputError, match=words):
            score(saved, path, out)
    zipped = tmp_path / "data.csv.gz"
    zipped.write_bytes(gzip.compress(whole)[:-30])
    with pytest.raises(InputError, match=r"data.csv.gz"):
        score(saved, zipped, out)
    parquet = tmp_path / "data.parquet"
    parquet.write_bytes(b"PAR1 no more")
    with pytest.raises(InputError, match=r"data.parquet"):
        score(saved, parquet, out)
    assert not out.exists()


def test_parquet_columns_of_the_wrong_type_are_named(saved: Saved, rows: pd.DataFrame, tmp_path: Path) -> None:
    table = pd.DataFrame({name: convert_column(rows[name], kind) for name, kind in saved.column_types.items()})
    wrong: list[tuple[ColumnType, Any]] = [
        ("number", "text"),
        ("number", True),
        ("boolean", 1.5),
        ("text", pd.Timestamp("2026-01-02")),
    ]
    for kind, values in wrong:
        name = saved.dataset.columns(kind)[0]
        table.assign(**{name: values}).to_parquet(tmp_path / "data.parquet")
        with pytest.raises(InputError, match=f"column '{name}' is of type"):
            score(saved, tmp_path / "data.parquet", tmp_path / "out.csv")


_CELL = st.one_of(
    st.sampled_from(["", "NA", "1", "1.5", "-0", "true", "FALSE", "Jan", "1e400", '"', '"a,b"', "a\nb", "\x00", " 3 "]),
    st.text(max_size=6),
)


@pytest.mark.slow
@ANY_TABLE
@given(lines=st.lists(st.lists(_CELL, max_size=20), max_size=6), header=st.booleans())
def test_any_text_is_scored_or_refused_in_one_line(
    saved: Saved, tmp_path_factory: pytest.TempPathFactory, lines: list[list[str]], header: bool
) -> None:
    folder = tmp_path_factory.mktemp("any")
    text = "\n".join(",".join(cells) for cells in lines)
    content = (",".join(saved.column_types) + "\n" if header else "") + text
    (folder / "data.csv").write_bytes(content.encode("utf-8", "surrogatepass"))
    try:
        scored = score(saved, folder / "data.csv", folder / "out.csv")
    except InputError as error:
        message = str(error)
        assert "data.csv" in message
        assert "\n" not in message
        assert not (folder / "out.csv").exists()
    else:
        assert scored["probability"].between(0, 1).all()
    assert not list(folder.glob(".*"))


@pytest.mark.slow
@ANY_TABLE
@given(
    values=st.lists(
        st.one_of(st.none(), st.floats(), st.integers(-(2**70), 2**70), st.text(max_size=5), st.booleans())
    ),
    kind=st.sampled_from(["number", "boolean", "text", "long", "datetime"]),
)
def test_any_column_is_converted_or_refused(values: list[Any], kind: Any) -> None:
    feature = Feature("a", kind)
    column = pa.array([None if value is None else str(value) for value in values], pa.string())
    try:
        converted = convert(column.fill_null(""), feature, 0, "f", from_text=True)
    except InputError as error:
        message = str(error)
        assert "column 'a'" in message
    else:
        assert len(converted) == len(values)


@ANY_TABLE
@given(st.lists(st.text(alphabet="0123456789aN. ", max_size=4), min_size=2, max_size=30), st.integers(1, 29))
def test_chunks_do_not_change_how_text_is_read(values: list[str], cut: int) -> None:
    """A chunks own values never change how a text is read."""
    feature = Feature("a", "text")
    whole = convert(pa.array(values), feature, 0, "", from_text=True).to_pylist()
    parts = [
        convert(pa.array(part, pa.string()), feature, 0, "", from_text=True) for part in (values[:cut], values[cut:])
    ]
    assert [value for part in parts for value in part.to_pylist()] == whole


# Memory ---------------------------------------------------------------------------------------------------------------


@pytest.mark.process
def test_memory_does_not_grow_with_the_rows(saved: Saved, tmp_path: Path) -> None:
    table = generate_sessions(20_000, seed=2)[list(saved.column_types)]
    # The fewer are enough to fill all buffers.
    for times in (10, 40):
        path = tmp_path / f"{times}.csv"
        table.to_csv(path, index=False)
        head, _, body = path.read_bytes().partition(b"\n")
        path.write_bytes(head + b"\n" + body * times)
        # One row group: reading it whole would show.
        pd.concat([table] * times).to_parquet(path.with_suffix(".parquet"), index=False, row_group_size=10**9)
    code = (
        "import re, sys\nfrom pathlib import Path\nfrom trainer.scoring.predict import PredictRequest, predict_file\n"
        "for name in sys.argv[2:]:\n"
        "    out = Path('out' + Path(name).suffix)\n"
        "    predict_file(PredictRequest(sys.argv[1], Path(name), out, keep=True, jobs=2))\n"
        # Not getrusage: a process starts with the peak of the one that started it.
        "    print(int(re.search(r'VmHWM:\\s+(\\d+)', Path('/proc/self/status').read_text())[1]) // 1024)"
    )
    names = ["10.csv", "10.parquet", "40.csv", "40.parquet"]
    done = programs.run(["-c", code, str(saved.folder), *names], cwd=tmp_path, check=True)
    _, small, csv, parquet = map(int, done.stdout.split())
    # 600,000 rows more, which are 54 MiB of text and 77 MiB of numbers. Threads and the allocator make it uneven.
    assert csv - small < 64, done.stdout
    assert parquet - csv < 64, done.stdout
    assert parquet < 600, done.stdout


# Models of others -----------------------------------------------------------------------------------------------------


@pytest.fixture
def numbers(tmp_path: Path) -> tuple[pd.DataFrame, Path]:
    """Return a table of numbers, and the CSV file that holds it."""
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"a": rng.normal(size=300), "b": rng.integers(0, 9, 300), "c": rng.normal(size=300)})
    table.to_csv(tmp_path / "numbers.csv", index=False)
    return table, tmp_path / "numbers.csv"


@pytest.mark.parametrize("signed", [True, False])
def test_a_scikit_learn_classifier(numbers: tuple[pd.DataFrame, Path], tmp_path: Path, signed: bool) -> None:
    import mlflow.sklearn
    from mlflow.models import infer_signature
    from sklearn.linear_model import LogisticRegression

    table, path = numbers
    fitted = LogisticRegression().fit(table, table["a"] > 0.1)
    signature = infer_signature(table, [True]) if signed else None
    mlflow.sklearn.save_model(
        fitted, tmp_path / "m", signature=signature, pip_requirements=["scikit-learn"], serialization_format="skops"
    )
    scored = score(tmp_path / "m", path, tmp_path / "out.parquet")
    assert scored["probability"].tolist() == fitted.predict_proba(table)[:, 1].tolist()
    assert scored["class"].tolist() == fitted.predict(table).tolist()


def test_counts_name_the_classes(numbers: tuple[pd.DataFrame, Path], tmp_path: Path, trainer: Trainer) -> None:
    """Counts of classes that have names say which."""
    import mlflow.sklearn
    from sklearn.linear_model import LogisticRegression

    table, path = numbers
    fitted = LogisticRegression().fit(table, np.where(table["a"] > 0.1, "buys", "leaves"))
    mlflow.sklearn.save_model(fitted, tmp_path / "m", pip_requirements=["scikit-learn"], serialization_format="skops")
    answer = trainer("predict", "--model", tmp_path / "m", "--data", path, "--out", tmp_path / "out.csv")
    assert f"{np.sum(fitted.predict(table) == 'leaves')} (" in answer.out
    assert "of class leaves" in answer.out


def test_three_classes_and_a_regressor(numbers: tuple[pd.DataFrame, Path], tmp_path: Path) -> None:
    """A classifier of three classes and a regressor."""
    import mlflow.sklearn
    from sklearn.linear_model import LinearRegression, LogisticRegression

    table, path = numbers
    three = LogisticRegression().fit(table, np.array(["x", "y", "z"])[table["b"] // 3])
    line = LinearRegression().fit(table, table["c"])
    for model, name in ((three, "three"), (line, "line")):
        mlflow.sklearn.save_model(
            model, tmp_path / name, pip_requirements=["scikit-learn"], serialization_format="skops"
        )
    scored = score(tmp_path / "three", path, tmp_path / "three.parquet")
    assert list(scored.columns) == ["probability_x", "probability_y", "probability_z", "class"]
    assert scored["class"].tolist() == three.predict(table).tolist()
    scored = score(tmp_path / "line", path, tmp_path / "line.parquet")
    assert scored["prediction"].tolist() == line.predict(table).tolist()


def test_a_bare_booster(numbers: tuple[pd.DataFrame, Path], tmp_path: Path) -> None:
    import lightgbm
    import mlflow.lightgbm

    table, path = numbers
    options = {"objective": "binary", "num_threads": 1, "verbosity": -1}
    booster = lightgbm.train(options, lightgbm.Dataset(table, table["a"] > 0.1), 5)
    mlflow.lightgbm.save_model(booster, tmp_path / "m", pip_requirements=["lightgbm"])
    scored = score(tmp_path / "m", path, tmp_path / "out.parquet")
    assert scored["probability"].tolist() == np.asarray(booster.predict(table)).tolist()


@pytest.mark.slow
def test_a_python_model_of_several_columns(numbers: tuple[pd.DataFrame, Path], tmp_path: Path) -> None:
    import mlflow.pyfunc

    class Bounds(mlflow.pyfunc.PythonModel):  # type: ignore[name-defined,misc]
        def predict(self, context: Any, model_input: pd.DataFrame, params: Any = None) -> pd.DataFrame:  # noqa: ARG002
            return pd.DataFrame({"low": model_input["a"] - 1, "label": model_input["b"].astype(str)})

    table, path = numbers
    mlflow.pyfunc.save_model(tmp_path / "m", python_model=Bounds(), pip_requirements=["pandas"])
    scored = score(tmp_path / "m", path, tmp_path / "out.parquet", ids=("c",))
    assert list(scored.columns) == ["c", "low", "label"]
    assert scored["low"].tolist() == (table["a"] - 1).tolist()
    with pytest.raises(InputError, match="column 'low' would stand beside"):
        score(tmp_path / "m", rename_to(path, "c", "low"), tmp_path / "out2.parquet", keep=True)


def rename_to(path: Path, old: str, new: str) -> Path:
    changed = path.with_name("renamed.csv")
    pd.read_csv(path).rename(columns={old: new}).to_csv(changed, index=False)
    return changed


def test_gaps_where_a_signature_has_no_place_for_them(numbers: tuple[pd.DataFrame, Path], tmp_path: Path) -> None:
    import mlflow.sklearn
    from mlflow.models import infer_signature
    from sklearn.linear_model import LogisticRegression

    table, path = numbers
    fitted = LogisticRegression().fit(table, table["a"] > 0)
    signature = infer_signature(table, [True])
    mlflow.sklearn.save_model(
        fitted, tmp_path / "m", signature=signature, pip_requirements=["scikit-learn"], serialization_format="skops"
    )
    broken = table.astype(object)
    broken.loc[4, "b"] = None
    broken.to_csv(path, index=False)
    with pytest.raises(InputError, match="row 5, column 'b': the value is missing"):
        score(tmp_path / "m", path, tmp_path / "out.csv")
    broken.loc[4, "b"] = "1.5"
    broken.loc[7, "a"] = None
    broken.to_csv(path, index=False)
    with pytest.raises(InputError, match=r"row 5, column 'b': '1.5' is not allowed; the model takes whole numbers"):
        score(tmp_path / "m", path, tmp_path / "out.csv")
    broken.loc[4, "b"] = 1
    broken.to_csv(path, index=False)
    # The model itself refuses gaps: its words, in one line.
    with pytest.raises(TrainerError, match=r"the model fails: ValueError: .*NaN"):
        score(tmp_path / "m", path, tmp_path / "out.csv")


# The command ----------------------------------------------------------------------------------------------------------


def test_command_scores_with_every_kind_of_uri(trainer: Trainer, workdir: Path, table: pd.DataFrame) -> None:
    answer = trainer("--json", "--n-estimators", 8, "--num-leaves", 6)
    run_id, uri = answer.json["run_id"], answer.json["model_uri"]
    store = f"sqlite:///{workdir}/mlflow.db"
    client = MlflowClient(store, store)
    outputs = client.get_run(run_id).outputs
    assert outputs is not None
    model_id = outputs.model_outputs[0].model_id
    client.create_registered_model("shop")
    client.create_model_version("shop", f"models:/{model_id}", run_id)
    client.set_registered_model_alias("shop", "champion", "1")
    table.to_csv(workdir / "new.csv", index=False)
    contents = set()
    for one in (uri, f"models:/{model_id}", "models:/shop/1", "models:/shop@champion", "models:/shop/latest"):
        answer = trainer("predict", "--model", one, "--data", "new.csv", "--out", "out.csv", "--json", "--jobs", 1)
        assert answer.code == 0, answer.err
        assert answer.json["rows"] == len(table)
        contents.add((workdir / "out.csv").read_bytes())
    assert len(contents) == 1
    answer = trainer("predict", "--model", uri, "--data", "new.csv", "--out", "out.csv", "--id", "purchase")
    assert "600 rows" in answer.out
    assert "at threshold" in answer.out
    assert list(read(workdir / "out.csv").columns) == ["purchase", "probability", "class"]
    answer = trainer("predict", "--model", uri, "--data", "new.csv", "--out", "out.csv", "--id", "purchas")
    assert answer.code == 2
    assert "has no column 'purchas' (--id); did you mean 'purchase'?" in answer.error
    for wrong, meant in (
        ("models:/shops/1", "not found; did you mean 'shop'? (--model)"),
        ("models:/cars/1", "not found; the registered models are shop (--model)"),
        ("models:/shop/3", "not found; its latest versions are 1 (--model)"),
        ("models:/shop@champoin", "not found; did you mean 'champion'? (--model)"),
        ("models:/shop@best", "not found; its aliases are champion (--model)"),
    ):
        answer = trainer("predict", "--model", wrong, "--data", "new.csv", "--out", "out.csv")
        assert answer.code == 2
        assert meant in answer.error


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"--model": "models:/shop"}, ["models:/shop", "models:/NAME/VERSION"]),
        ({"--model": "models:/shop/3"}, ["models:/shop/3", "not found"]),
        ({"--model": "models:/shop@best"}, ["models:/shop@best", "not found"]),
        ({"--model": "runs:/" + "0" * 32 + "/model"}, ["not found"]),
        ({"--model": "nowhere"}, ["nowhere", "no such model"]),
        ({"--model": "http://localhost:1/x/y"}, ["http://localhost:1/x/y: has no files"]),
        ({"--model": "."}, ["no MLmodel file"]),
        ({"--data": "none.csv"}, ["none.csv: no such file"]),
        ({"--data": "new.xlsx"}, ["new.xlsx", ".parquet"]),
        ({"--out": "out.txt"}, ["out.txt", ".csv"]),
        ({"--out": "no/where/out.csv"}, ["there is no folder"]),
        ({"--out": "new.csv"}, ["is the data itself"]),
        ({"--jobs": "0"}, ["--jobs"]),
    ],
)
def test_wrong_usage_is_one_line_and_no_file(
    trainer: Trainer, workdir: Path, changes: dict[str, str], words: list[str]
) -> None:
    (workdir / "new.csv").write_text("a,b\n1,2\n")
    (workdir / "new.xlsx").write_text("x")
    before = {entry.name for entry in workdir.iterdir()}
    options = {"--model": ".", "--data": "new.csv", "--out": "out.csv", **changes}
    answer = trainer("predict", *(word for pair in options.items() for word in pair))
    assert answer.code == 2
    for word in words:
        assert word in answer.error
    assert {entry.name for entry in workdir.iterdir()} == before


def test_without_a_server_no_database_is_made(
    trainer: Trainer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "new.csv").write_text("a\n1\n")
    answer = trainer("predict", "--model", "models:/shop/1", "--data", "new.csv", "--out", "out.csv")
    assert answer.code == 2
    assert "--tracking-uri" in answer.error
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["new.csv"]


# Parts ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_parts_are_scored_as_one_file(saved: Saved, tmp_path: Path, suffix: str) -> None:
    """A folder and a pattern give the scores that one file with the rows of all parts has."""
    table = generate_sessions(900, seed=3)
    (tmp_path / "parts").mkdir()
    for name, rows in (("whole", table), ("parts/b", table.iloc[:600]), ("parts/c", table.iloc[600:])):
        if suffix == ".csv":
            rows.to_csv(tmp_path / f"{name}.csv", index=False)
        else:
            rows.to_parquet(tmp_path / f"{name}.parquet", index=False)
    score(saved, tmp_path / f"whole{suffix}", tmp_path / "whole_out.csv")
    for place in ("parts", "parts/*"):
        score(saved, tmp_path / place, tmp_path / "out.csv")
        assert (tmp_path / "out.csv").read_bytes() == (tmp_path / "whole_out.csv").read_bytes()


def test_wrong_value_names_its_part(saved: Saved, tmp_path: Path) -> None:
    table = generate_sessions(40, seed=3)
    table.iloc[:30].to_csv(tmp_path / "a.csv", index=False)
    wrong = table.iloc[30:].astype({"exit_rate": object})
    wrong.iloc[4, list(wrong.columns).index("exit_rate")] = "high"
    wrong.to_csv(tmp_path / "b.csv", index=False)
    with pytest.raises(InputError, match=r"b\.csv: row 5, column 'exit_rate': 'high' is not allowed"):
        score(saved, tmp_path / "*.csv", tmp_path / "out.csv")
    table.drop(columns="month").to_csv(tmp_path / "b.csv", index=False)
    with pytest.raises(InputError, match=r"b\.csv: lacks column 'month', which a\.csv has"):
        score(saved, tmp_path / "*.csv", tmp_path / "out.csv")
