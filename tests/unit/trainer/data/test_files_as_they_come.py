"""Files as programs write them: in memory, in passes, scored and served, they are the plain table, or refused alike."""

from __future__ import annotations

import gzip
import json
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
from trainer.config.csv_form import CsvForm
from trainer.config.stream import Stream
from trainer.data.sources import load_data
from trainer.serving.mlflow_requests import wrong
from trainer.serving.tree_model import TreeModel
from trainer.util.errors import InputError

from ..scoring.scoring_files import Saved, save, score

ROWS = 120
NUMBERS = np.random.default_rng(4).normal(size=ROWS).round(3)
TABLE = pd.DataFrame({"a": NUMBERS, "word": np.where(NUMBERS > 0.4, "u", "v"), "y": (NUMBERS > 0).astype(int)})
LINES = TABLE.to_csv(index=False).splitlines()
HEADER, FIRST, *OTHERS = LINES
STREAMS: tuple[Stream, ...] = ("never", "always")


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Saved:
    """Return a model of the plain table."""
    folder = tmp_path_factory.mktemp("plain")
    TABLE.to_csv(folder / "t.csv", index=False)
    return save(load_data(folder / "t.csv", target="y"), folder / "model")


@pytest.mark.parametrize(
    "content",
    {
        "two byte order marks": "\ufeff\ufeff" + "\n".join(LINES),
        "separators at all ends": "\n".join(line + ",," for line in LINES),
        "separators at the rows' ends": "\n".join([HEADER, *(line + ",," for line in LINES[1:])]),
        "an index": TABLE.to_csv(),
        "an index written twice": TABLE.to_csv().replace(",a,", ",Unnamed: 0,a,", 1).replace("\n", "\n7,")[:-2],
        "an index without a value": "\n".join("," + line for line in LINES),
        "a row of white space": "\n".join([HEADER, FIRST, "   ", *OTHERS, " \t "]),
        "blank lines": "\n\n".join(LINES),
        "old line ends": "\r".join(LINES),
    }.items(),
    ids=lambda case: case[0],
)
def test_every_way_reads_it_as_the_plain_table(content: tuple[str, str], plain: Saved, tmp_path: Path) -> None:
    """But a request whose rows have more fields than its header is refused, whatever is in them."""
    path = tmp_path / "t.csv"
    path.write_bytes(content[1].encode())
    expected = plain.dataset
    for stream in STREAMS:
        read = load_data(path, target="y", stream=stream)
        assert read.column_types == expected.column_types
        assert (read.digest, read.test_digest) == (expected.digest, expected.test_digest)
    probabilities = plain.expected(TABLE[["a", "word"]])[0]
    assert score(plain, path, tmp_path / "out.parquet")["probability"].tolist() == probabilities
    reply = TreeModel.read(plain.folder).answer(path.read_bytes(), "text/csv", "")
    if content[0] == "separators at the rows' ends":
        assert "row 1 has 5 fields, the header 3" in json.loads(reply.body)["message"]
    else:
        assert reply.scores is not None, reply.body
        assert reply.scores.tolist() == probabilities


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (HEADER, "has a header but no rows"),
        (HEADER + "\n", "has a header but no rows"),
        ("\n".join(LINES).replace(",word,", ",,"), "column 2 has no name; name it, or remove it"),
        ("\n".join([HEADER, FIRST + ",9", *OTHERS]), "row 1 has 4 fields, the header 3"),
        ("sep=;\n" + "\n".join(LINES).replace(",", ";"), "leave it out (--skip-lines 1 --separator semicolon)"),
        ("sep=,\n" + "\n".join(LINES), "leave it out (--skip-lines 1)"),
        ("\n".join(LINES).replace(",", "^"), "--separator"),
        ("\n".join(LINES).replace(",y", ",Y"), "no target column 'y'; did you mean 'Y'?"),
        ("\n".join([HEADER, FIRST, HEADER, *OTHERS]), "row 2 names the columns, as the header does; remove it"),
    ],
)
def test_both_ways_of_reading_refuse_alike(content: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text(content)
    for stream in STREAMS:
        with pytest.raises(InputError) as refused:
            load_data(path, target="y", stream=stream)
        assert words in str(refused.value)
        assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("content", "words"),
    {
        "in a text": ("\n".join([HEADER, FIRST, "1,u\0,1", *OTHERS]), "row 2, column 'word': holds a NUL character"),
        "in quotes": ("\n".join([HEADER, FIRST, '1,"u\n\0v",1', *OTHERS]), "row 2, column 'word': holds a NUL"),
        "in a number": ("\n".join([HEADER, FIRST, "1\0.5,u,1", *OTHERS]), "row 2, column 'a': holds a NUL character"),
        "in the target": ("\n".join([HEADER, FIRST, "1,u,1\0", *OTHERS]), "row 2, column 'y': holds a NUL character"),
        "alone in a line": ("\n".join([*LINES, "\0" * 9]), f"row {ROWS + 1}, column 'a': holds a NUL character"),
        "far below": ("\n".join([HEADER, *LINES[1:] * 500, "1,u\0,1"]), "row 60,001, column 'word': holds a NUL"),
    }.values(),
)
@pytest.mark.parametrize("suffix", [".csv", ".csv.gz"])
def test_nul_character_is_refused_by_its_row(
    content: str, words: str, suffix: str, plain: Saved, tmp_path: Path
) -> None:
    """It comes from a damaged file: a category with one looks like the category without, and is another."""
    path = tmp_path / f"t{suffix}"
    path.write_bytes(gzip.compress(content.encode(), 1) if suffix == ".csv.gz" else content.encode())
    refusals = []
    for stream in STREAMS:
        with pytest.raises(InputError) as refused:
            load_data(path, target="y", stream=stream)
        refusals.append(str(refused.value))
    with pytest.raises(InputError) as refused:
        score(plain, path, tmp_path / "out.csv")
    refusals.append(str(refused.value))
    assert not (tmp_path / "out.csv").exists()
    for refusal in refusals:
        assert f"{path}: {words}" in refusal
        assert "\n" not in refusal
    reply = TreeModel.read(plain.folder).answer(content.encode(), "text/csv", "")
    assert reply.status == 400
    assert json.loads(reply.body)["message"].startswith(words)
    assert words in str(wrong(content.encode(), is_csv=True))


def test_nul_above_or_in_the_header_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    for above, skipped, words in (
        ("", 0, "is not a text file"),
        ("shop\0\n", 1, "holds a NUL character above its header"),
    ):
        path.write_text(above + "\n".join(LINES).replace("word", "wo" + "\0" * (not above) + "rd"))
        for stream in STREAMS:
            with pytest.raises(InputError, match=words):
                load_data(path, target="y", stream=stream, csv=CsvForm(skip_lines=skipped))


@pytest.mark.slow
def test_text_may_be_long(tmp_path: Path) -> None:
    """Longer than Python's own bound on a field; scoring reads it, too."""
    path = tmp_path / "t.csv"
    long = TABLE.assign(it=["x" * 200_000, "y"] * (ROWS // 2), last=[*["z"] * (ROWS - 1), "z" * 200_000])
    long.to_csv(path, index=False)
    read = [load_data(path, target="y", stream=stream) for stream in STREAMS]
    assert len({one.digest for one in read}) == 1
    assert set(read[0].whole().features["it"].map(len)) == {200_000, 1}
    # What is wrong with such a table is still told by its row.
    path.write_text(path.read_text() + "1,2\n")
    for stream in STREAMS:
        with pytest.raises(InputError, match=rf"row {ROWS + 1} has 2 fields"):
            load_data(path, target="y", stream=stream)


@pytest.mark.parametrize(("blank", "kind"), [(" ", "unknown"), (" NA ", "unknown"), ("x", "text")])
def test_white_space_alone_is_no_value(tmp_path: Path, blank: str, kind: str) -> None:
    """A column of nothing else has no type, as an empty one; among texts it is one of them."""
    TABLE.assign(it=["", blank] * (ROWS // 2)).to_csv(tmp_path / "t.csv", index=False)
    read = [load_data(tmp_path / "t.csv", target="y", stream=stream) for stream in STREAMS]
    assert [one.column_types["it"] for one in read] == [kind, kind]
    assert read[0].digest == read[1].digest


def test_only_column_may_have_gaps(tmp_path: Path) -> None:
    """In quotes, an empty line is a row: served, each row has an answer of its own."""
    table = TABLE.assign(word=np.where(np.arange(ROWS) % 5 == 0, "", TABLE["word"]))[["word", "y"]]
    table.to_csv(tmp_path / "t.csv", index=False)
    saved = save(load_data(tmp_path / "t.csv", target="y"), tmp_path / "model")
    table[["word"]].to_csv(tmp_path / "new.csv", index=False)
    assert '\n""\n' in (tmp_path / "new.csv").read_text()
    expected = score(saved, tmp_path / "new.csv", tmp_path / "out.parquet")["probability"].tolist()
    assert len(expected) == ROWS
    reply = TreeModel.read(saved.folder).answer((tmp_path / "new.csv").read_bytes() + b"\n  \n", "text/csv", "")
    assert reply.scores is not None
    assert reply.scores.tolist() == expected


def test_index_of_a_parquet_file_is_no_feature(tmp_path: Path) -> None:
    """Only what pandas notes as an index is one: a column that is merely called so is a feature, in every way."""
    indexed = TABLE.assign(__index_level_0__=NUMBERS**2)
    for name, table in (("named", indexed.set_index(pd.Index(NUMBERS, name="row"))), ("plain", indexed)):
        table.to_parquet(tmp_path / f"{name}.parquet")
    read = [
        load_data(tmp_path / f"{name}.parquet", target="y", stream=stream)
        for name in ("named", "plain")
        for stream in STREAMS
    ]
    assert {(one.digest, *one.column_types) for one in read} == {(read[0].digest, "a", "word", "__index_level_0__")}
    assert all("named.parquet: its pandas index row is left out" in one.warnings for one in read[:2])
    saved = save(read[0], tmp_path / "model")
    assert len(score(saved, tmp_path / "plain.parquet", tmp_path / "out.csv")) == ROWS


@pytest.mark.parametrize("kind", [pa.decimal32(9, 3), pa.decimal64(18, 3), pa.decimal128(38, 3), pa.decimal256(50, 3)])
def test_decimals_are_the_nearest_numbers(kind: pa.DataType, plain: Saved, tmp_path: Path) -> None:
    """In training, in passes, scored and served: to the last bit what the same digits are in a CSV file."""
    decimals = pa.array([Decimal(str(number)) for number in NUMBERS]).cast(kind)
    path = tmp_path / "t.parquet"
    parquet.write_table(pa.table({"a": decimals, "word": TABLE["word"], "y": TABLE["y"]}), path)
    for stream in STREAMS:
        read = load_data(path, target="y", stream=stream)
        assert (read.digest, read.test_digest) == (plain.dataset.digest, plain.dataset.test_digest)
        coded = load_data(path, target="y", categorical=["a"], stream=stream)
        assert coded.column_types["a"] == "text"
    probabilities = plain.expected(TABLE[["a", "word"]])[0]
    assert score(plain, path, tmp_path / "out.parquet")["probability"].tolist() == probabilities
    reply = TreeModel.read(plain.folder).answer(path.read_bytes(), "application/vnd.apache.parquet", "")
    assert reply.scores is not None
    assert reply.scores.tolist() == probabilities


# Names that are alike -------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "other", "difference"),
    [
        ("a", "A", "capital letters"),
        ("a", " a", "white space"),
        ("caf\u00e9", "cafe\u0301", "their Unicode form"),
        ("a b", "A  B", "capital letters, white space or their Unicode form"),
    ],
)
@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_names_that_are_alike_are_told(tmp_path: Path, name: str, other: str, difference: str, suffix: str) -> None:
    """Such columns are kept apart; a later table with the one form only is told what its column may be."""
    table = TABLE.set_axis([name, "word", "y"], axis=1)
    both = table.assign(**{other: NUMBERS[::-1]})
    for content, path in ((table, "one"), (both, "both"), (both.drop(columns=[name]), "later")):
        file = tmp_path / f"{path}.{suffix}"
        content.to_csv(file, index=False) if suffix == "csv" else content.to_parquet(file)
    for stream in STREAMS:
        read = load_data(tmp_path / f"both.{suffix}", target="y", stream=stream)
        assert set(read.column_types) == {name, other, "word"}
        assert any(f"differ in {difference} alone: each is a feature" in warning for warning in read.warnings)
    read = load_data(tmp_path / f"one.{suffix}", target="y")
    assert read.warnings == plain_warnings(name)
    saved = save(read, tmp_path / "model")
    with pytest.raises(InputError, match=r"lacks 1 column that the model takes: .*; is .* the file's .*\?"):
        score(saved, tmp_path / f"later.{suffix}", tmp_path / "out.csv")
    with pytest.raises(InputError, match=r"lacks columns that the model takes: .*; is .* the file's .*\?"):
        load_data(tmp_path / f"later.{suffix}", target="y", column_types=read.column_types)
    row = json.dumps({"dataframe_records": [{other: 1.0, "word": "u"}]}).encode()
    reply = TreeModel.read(saved.folder).answer(row, "application/json", "")
    assert reply.status == 400
    assert "missing inputs" in json.loads(reply.body)["message"]
    # A model that takes both tells them apart.
    assert len(score(save(load_data(tmp_path / f"both.{suffix}", target="y"), tmp_path / "two"),
                     tmp_path / f"both.{suffix}", tmp_path / "out.csv")) == ROWS  # fmt: skip


def plain_warnings(name: str) -> tuple[str, ...]:
    """Return the warnings on the table whatever its first column is called: it decides the target."""
    return load_warnings(TABLE.set_axis([name, "word", "y"], axis=1))


def load_warnings(table: pd.DataFrame) -> tuple[str, ...]:
    from trainer.data.leak_warnings import leak_warning

    found = [leak_warning(str(name), table[name], table["y"].to_numpy()) for name in table.columns[:2]]
    return tuple(warning for warning in found if warning is not None)
