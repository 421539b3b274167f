"""A quote that is left open, or written with a backslash, swallows rows: each way of reading refuses it."""

from __future__ import annotations

import gzip
from pathlib import Path
from types import SimpleNamespace

import pytest
from trainer.config.csv_form import CsvForm
from trainer.config.stream import Stream
from trainer.data.arrow_columns import Feature
from trainer.data.csv_text import WithoutNul
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


# Quotes that are written as \" ----------------------------------------------------------------------------------------

#: Two fields that end in such a quote, and the rows between them, which would be one row.
ESCAPED = {
    "middle": 'x,word,y\n{rows}61,"5\\"",1\n62,q,0\n63,r,1\n64,"7\\"",1\n{rows}',
    "next rows": 'x,word,y\n{rows}61,"5\\"",1\n62,"7\\"",1\n{rows}',
    "first": 'word,x,y\n"5\\"",61,1\nq,62,0\n"7\\"",63,1\n{rows}',
    "last": 'x,y,word\n{rows}61,1,"5\\""\n62,0,q\n63,1,"7\\""\n{rows}',
}


@pytest.mark.parametrize("text", ESCAPED.values(), ids=ESCAPED)
@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r"])
def test_escaped_quotes_swallow_no_row(tmp_path: Path, text: str, ends: str) -> None:
    """In memory, in passes, scored and served; also where a chunk ends between the two characters."""
    content = text.format(rows=ROWS).replace("\n", ends).encode()
    words = r'column \'word\': holds \d lines of the file, because a quote is written as \\" there; write it as two'
    for name in ("t.csv", "t.csv.gz"):
        (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
        streams: tuple[Stream, ...] = ("never", "always")
        for stream in streams:
            with pytest.raises(InputError, match=words):
                load_data(tmp_path / name, target="y", stream=stream)
        with pytest.raises(InputError, match=words):
            list(open_source(tmp_path / name, CsvForm()).chunks([Feature("x", "text")], ()))
    with pytest.raises(RequestError, match=words):
        read_csv(content)


def test_pair_of_signs_may_be_in_two_pieces() -> None:
    pieces = [b'a,"5\\', b'"",1\n', b""]
    stream = WithoutNul(SimpleNamespace(read=lambda _size: pieces.pop(0)), ValueError)
    while stream.read(8):
        pass
    assert stream.escapes


@pytest.mark.parametrize(
    "field",
    [
        '"{""a"": ""say \\""hi\\"""",\n ""b"": [1, 2]}"',
        '"a path: C:\\"',
        '"two\nlines, and \\""quotes\\"", in a text"',
        'plain \\" text',
    ],
)
def test_text_with_a_backslash_is_one(tmp_path: Path, field: str) -> None:
    """Of several lines, too: JSON in a field has such quotes."""
    text = f"x,word,y\n{ROWS}61,{field},1\n{ROWS}"
    (tmp_path / "t.csv").write_text(text)
    assert load_data(tmp_path / "t.csv", target="y").rows == 121
    assert read_csv(text.encode()).rows == 121
