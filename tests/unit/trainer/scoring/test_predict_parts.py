"""Scoring a table's files into a folder: a part file each, whole or not there, and none left out without a word."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
from trainer.data import demo
from trainer.data.dataset import Dataset
from trainer.data.demo import generate_sessions
from trainer.scoring.part_files import RECORD
from trainer.scoring.part_tasks import PartsWork, PartTask, score_part, score_part_remotely
from trainer.scoring.predict import PredictRequest, PredictResult, ReadColumns, predict_file
from trainer.scoring.predict_parts import predict_parts
from trainer.util.errors import InputError, TrainerError

from ..conftest import Answer
from .scoring_files import Saved, read, save

ROWS = 240


@pytest.fixture(scope="module")
def saved(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Saved:
    """Return a model."""
    return save(dataset, tmp_path_factory.mktemp("saved") / "model")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Return a folder with a table in three CSV files."""
    return write_parts(tmp_path / "data", ".csv")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """Return an empty folder."""
    folder = tmp_path / "out"
    folder.mkdir()
    return folder


def write_parts(folder: Path, suffix: str) -> Path:
    """Write 240 sessions into three files."""
    folder.mkdir()
    table = generate_sessions(ROWS, seed=8).drop(columns=demo.TARGET)
    for number, (start, stop) in enumerate([(0, 100), (100, 110), (110, ROWS)]):
        path = folder / f"part-{number}{suffix}"
        some = table.iloc[start:stop]
        if suffix == ".parquet":
            some.to_parquet(path, index=False)
        else:
            some.to_csv(path, index=False, sep="\t" if ".tsv" in suffix else ",")
    return folder


def names(folder: Path) -> list[str]:
    """Return all that is in a folder, but the record of what was scored."""
    return sorted(path.name for path in folder.iterdir() if path.name != RECORD)


@contextmanager
def counted(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Return the names of the files that are scored inside."""
    scored: list[str] = []

    def score(task: PartTask, *rest: object) -> object:
        scored.append(task.place.name)
        return score_part(task, *rest)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr("trainer.scoring.predict_parts.score_part", score)
        yield scored


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz", ".parquet"])
def test_parts_hold_what_one_file_holds(saved: Saved, tmp_path: Path, out: Path, suffix: str) -> None:
    """The same rows in the same order, to the bit, with the columns that are copied."""
    folder = write_parts(tmp_path / "data", suffix)
    request = PredictRequest(str(saved.folder), folder, tmp_path / f"whole{suffix}", ids=("month",))
    whole = predict_file(request)
    done = predict_parts(PredictRequest(str(saved.folder), folder, out, ids=("month",)))
    assert names(out) == [f"part-{number}{suffix}" for number in range(3)]
    joined = pd.concat([read(out / name) for name in names(out)], ignore_index=True)
    assert joined.equals(read(tmp_path / f"whole{suffix}"))
    figures = [(one.rows, one.columns, one.positives, one.threshold, one.scorer) for one in (whole, done)]
    assert figures[0] == figures[1]
    assert figures[0][0] == ROWS


def test_tab_separated_files_become_csv(saved: Saved, tmp_path: Path, out: Path) -> None:
    predict_parts(PredictRequest(str(saved.folder), write_parts(tmp_path / "data", ".tsv"), out))
    assert names(out) == ["part-0.csv", "part-1.csv", "part-2.csv"]


def test_command_scores_into_a_folder(saved: Saved, data: Path, out: Path, trainer: Callable[..., Answer]) -> None:
    done = trainer("predict", "--model", saved.folder, "--data", data, "--out", out, "--json")
    assert done.code == 0, done.err
    assert (done.json["rows"], done.json["out"]) == (ROWS, str(out))
    assert len(names(out)) == 3


def test_finished_parts_stay(
    saved: Saved, data: Path, out: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same command scores what is new or changed, on either side, and counts the rest in its result."""
    request = PredictRequest(str(saved.folder), data, out)
    first = predict_parts(request)
    with counted(monkeypatch) as scored:
        assert figures(predict_parts(request)) == figures(first)
    assert scored == []
    assert "3 of 3 files were scored before: their parts stay" in capsys.readouterr().err
    (out / "part-0.csv").write_text("broken\n")
    table = pd.read_csv(data / "part-1.csv")
    table.head(4).to_csv(data / "part-1.csv", index=False)
    with counted(monkeypatch) as scored:
        assert predict_parts(request).rows == ROWS - 6
    assert scored == ["part-0.csv", "part-1.csv"]
    assert "1 of 3 files were scored before: their parts stay" in capsys.readouterr().err
    assert len(read(out / "part-0.csv")) == 100


def figures(done: PredictResult) -> tuple[object, ...]:
    return done.rows, done.columns, done.positive, done.positives, done.threshold, done.scorer


@pytest.mark.slow
def test_other_model_or_options_score_anew(
    saved: Saved, dataset: Dataset, data: Path, out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    predict_parts(PredictRequest(str(saved.folder), data, out))
    with counted(monkeypatch) as scored:
        predict_parts(PredictRequest(str(saved.folder), data, out, keep=True))
        assert len(scored) == 3
        other = save(dataset, tmp_path / "other", n_estimators=13)
        predict_parts(PredictRequest(str(other.folder), data, out, keep=True))
    assert len(scored) == 6


@pytest.mark.slow
def test_unreadable_record_scores_anew(saved: Saved, data: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    request = PredictRequest(str(saved.folder), data, out)
    predict_parts(request)
    for content in ("{", "[1]", json.dumps({"part-0.csv": {}})):
        (out / RECORD).write_text(content)
        with counted(monkeypatch) as scored:
            predict_parts(request)
        assert len(scored) == 3


def test_refused_value_leaves_whole_parts_only(saved: Saved, data: Path, out: Path, tmp_path: Path) -> None:
    """The line is that of scoring into one file."""
    table = pd.read_csv(data / "part-1.csv").astype(object)
    table.loc[3, "page_value"] = "much"
    table.to_csv(data / "part-1.csv", index=False)
    (out / "part-1.csv").write_text("old\n")
    with pytest.raises(InputError) as one:
        predict_file(PredictRequest(str(saved.folder), data, tmp_path / "whole.csv"))
    with pytest.raises(InputError) as other:
        predict_parts(PredictRequest(str(saved.folder), data, out))
    assert str(other.value) == str(one.value)
    assert "part-1.csv" in str(one.value)
    assert names(out) == ["part-0.csv", "part-1.csv"]
    assert (out / "part-1.csv").read_text() == "old\n"


def test_file_without_rows_gets_no_part(
    saved: Saved, data: Path, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    header = (data / "part-1.csv").read_text().splitlines()[0]
    (data / "part-1.csv").write_text(f"{header}\n")
    (out / "part-1.csv").write_text("of an earlier time\n")
    assert predict_parts(PredictRequest(str(saved.folder), data, out)).rows == ROWS - 10
    assert names(out) == ["part-0.csv", "part-2.csv"]
    assert f"{data / 'part-1.csv'}: has no rows, and gets no part" in capsys.readouterr().err
    for number in (0, 2):
        (data / f"part-{number}.csv").write_text(f"{header}\n")
    with pytest.raises(InputError, match="has a header but no rows"):
        predict_parts(PredictRequest(str(saved.folder), data, out))


def test_useless_folders_are_refused(saved: Saved, data: Path, out: Path, tmp_path: Path) -> None:
    def refused(where: Path) -> str:
        with pytest.raises(InputError) as error:
            predict_parts(PredictRequest(str(saved.folder), data, where))
        return str(error.value)

    assert refused(tmp_path / "none").startswith(f"{tmp_path / 'none'}: is no folder; make it first")
    assert refused(data) == f"{data / 'part-0.csv'}: is the data itself; write to another folder (--out)"
    (out / "may.csv").write_text("a\n1\n")
    assert refused(out).startswith(f"{out}: holds may.csv, which is none of these parts")
    assert names(out) == ["may.csv"]


def test_two_files_of_one_name_are_refused(saved: Saved, data: Path, out: Path) -> None:
    (data / "more").mkdir()
    (data / "more" / "part-0.csv").write_bytes((data / "part-0.csv").read_bytes())
    with pytest.raises(InputError, match=r"would both be scored into part-0\.csv"):
        predict_parts(PredictRequest(str(saved.folder), data / "**" / "*.csv", out))


def test_copied_columns_are_of_one_type(saved: Saved, tmp_path: Path, out: Path) -> None:
    """As in one file: a part whose column has another type is refused before any part is written."""
    folder = write_parts(tmp_path / "data", ".parquet")
    for number in range(3):
        path = folder / f"part-{number}.parquet"
        table = parquet.read_table(path)
        kind = pa.string() if number == 2 else pa.int64()
        ids = pa.array(range(len(table))).cast(kind)
        parquet.write_table(table.append_column("id", ids), path)
    with pytest.raises(InputError, match=r"part-2\.parquet: column 'id' is string, and int64 in part-0\.parquet"):
        predict_parts(PredictRequest(str(saved.folder), folder, out, ids=("id",)))
    assert names(out) == []


def test_full_disk_is_one_line(saved: Saved, data: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A part that cannot be written leaves nothing."""
    from trainer.scoring import part_files

    class Full:
        def write(self, _content: bytes) -> None:
            raise OSError(28, "No space left on device")

    plain = part_files._OpenPart.__init__

    def begin(self: part_files._OpenPart, path: Path, attempt: int) -> None:
        plain(self, path, attempt)
        if path.name == "part-1.csv":
            self._stream = Full()  # type: ignore[assignment]

    monkeypatch.setattr(part_files._OpenPart, "__init__", begin)
    with pytest.raises(TrainerError, match=r"part-1\.csv: cannot be written: No space left on device"):
        predict_parts(PredictRequest(str(saved.folder), data, out))
    assert names(out) == ["part-0.csv"]


@pytest.mark.parametrize(
    ("name", "words"), [("part-0.csv", "another file there than here"), ("none.csv", "no such file")]
)
def test_worker_with_another_file_says_so(saved: Saved, data: Path, out: Path, name: str, words: str) -> None:
    request = PredictRequest(str(saved.folder), data, out)
    work = PartsWork(request, ReadColumns((), ()), {})
    with pytest.raises(InputError, match=words) as error:
        score_part_remotely(PartTask(0, data / name, "0" * 64, name), work)
    assert str(error.value).startswith("worker ")


def test_piece_of_a_lost_worker_is_refused(out: Path, data: Path) -> None:
    """One that was given up may still be at work."""
    from trainer.scoring.part_files import PartFolder
    from trainer.scoring.part_tasks import Piece

    task = PartTask(0, data / "part-0.csv", "0" * 64, "part-0.csv")
    with PartFolder(out, "x") as folder:
        folder.begin(task)
        folder.take(Piece(0, 1, b"old"))
        again = folder.begin_again(task, "died")
        with pytest.raises(TrainerError, match="another worker scores this file by now"):
            folder.take(Piece(0, 1, b"late"))
        folder.take(Piece(0, again.attempt, b"new"))
        assert names(out) == []
    assert names(out) == []
