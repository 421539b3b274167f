"""A quote that is left open swallows the rows after it: each way of reading refuses it, and none loses a row."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from trainer.config.csv_form import CsvForm
from trainer.config.stream import Stream
from trainer.data.arrow_columns import Feature
from trainer.data.row_chunks.opening import open_source
from trainer.data.sources import load_data
from trainer.serving.body import RequestError, read_csv
from trainer.util.errors import InputError

ROWS = "".join(f"{row},p,{row % 2}\n" for row in range(1, 61))
#: The open quote in row 61: in the last column, and in others.
OPEN = {"last column": '61,q,"1\n62,q,0\n', "middle": '61,"q,1\n62,q,0\n', "first": '"61,q,1\n62,q,0\n'}
WORDS = "row 61: a quote is left open"


@pytest.mark.parametrize("stream", ["never", "always"])
@pytest.mark.parametrize("rows", OPEN.values(), ids=OPEN)
@pytest.mark.parametrize("target", ["y", "x"])
def test_open_quote_is_no_training_data(tmp_path: Path, stream: Stream, rows: str, target: str) -> None:
    header = "x,word,y\n" if target == "y" else "y,word,x\n"
    (tmp_path / "t.csv").write_text(header + ROWS + rows)
    with pytest.raises(InputError, match=WORDS):
        load_data(tmp_path / "t.csv", target="y", stream=stream, task="regression" if target == "x" else None)


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
@pytest.mark.parametrize("columns", [["x"], ["x", "y"], ["word", "y"]], ids=",".join)
def test_open_quote_ends_scoring(tmp_path: Path, packed: bool, columns: list[str]) -> None:
    """Also where the column with the quote is none that the model takes."""
    path = tmp_path / ("t.csv.gz" if packed else "t.csv")
    text = f"x,word,y\n{ROWS}{OPEN['last column']}".encode()
    path.write_bytes(gzip.compress(text) if packed else text)
    source = open_source(path, CsvForm())
    with pytest.raises(InputError, match=WORDS):
        list(source.chunks([Feature(name, "text") for name in columns], ()))


def test_open_quote_in_a_request() -> None:
    with pytest.raises(RequestError, match=WORDS):
        read_csv(f"x,word,y\n{ROWS}{OPEN['last column']}".encode())


@pytest.mark.parametrize("last", ['61,q,"1\n"\n', '61,q,"1\n"', '61,5" pipe,1\n', '61,q,"say ""1"" \n x"'])
def test_closed_quotes_are_fine(tmp_path: Path, last: str) -> None:
    """A field may hold a line's end, and a quote within it means nothing."""
    (tmp_path / "t.csv").write_text(f"x,word,y\n{ROWS}{last}")
    source = open_source(tmp_path / "t.csv", CsvForm())
    chunks = list(source.chunks([Feature(name, "text") for name in ("x", "y")], ()))
    assert sum(chunk.num_rows for chunk in chunks) == 61
    assert [chunk.schema.names for chunk in chunks] == [["x", "y"]] * len(chunks)
    assert read_csv(f"x,word,y\n{ROWS}{last}".encode()).rows == 61
