"""A CSV file, read in chunks."""

from __future__ import annotations

import csv as python_csv
import itertools
import re
from collections.abc import Generator, Mapping, Sequence, Set
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as csv

from trainer.config.csv_form import CsvForm
from trainer.data.arrow_columns import ARROW, Feature, Type, bad_value
from trainer.data.buckets import Place
from trainer.data.csv_faults import check_escapes, check_quotes, nul_refusal
from trainer.data.csv_file import csv_header
from trainer.data.csv_row_faults import uneven_row
from trainer.data.csv_text import WithoutNul, open_text
from trainer.data.file_errors import reading
from trainer.data.row_chunks import size
from trainer.data.row_chunks.source import TableSource
from trainer.util.errors import InputError
from trainer.util.text import one_line

_NO_NUMBER = re.compile(r"In CSV column #(\d+): Row #(\d+): CSV conversion error to \w+: invalid value '(.*)'")


class _Padded(Exception):  # noqa: N818 - no error
    """Not only pyarrow is to judge a column of numbers: white space is around one, or a text is read as NaN."""

    def __init__(self, column: str) -> None:
        super().__init__(column)
        self.column = column


def _of_invalid_row(row: Any) -> str:
    """Return what to do with a row of another number of fields: white space alone is none, as to pandas."""
    return "error" if row.text.strip() else "skip"


class CsvSource(TableSource):
    """A CSV file; what is not a feature is read as the text that it is."""

    from_text = True

    def __init__(self, path: Place, form: CsvForm, scale: int = 1) -> None:
        super().__init__(path, csv_header(path, form))
        self.form = form
        self.size = max(path.stat().st_size, 1)
        self._read = 0.0
        self._block = scale * size.block(len(self.names))

    def chunks(self, features: Sequence[Feature], copied: Sequence[str]) -> Generator[pa.RecordBatch, None, None]:
        """Read the file; a column of numbers in which white space stands for a missing value is read as texts."""
        texts, done = set(copied), 0
        while True:
            try:
                for place, chunk in enumerate(self._parsed(features, copied, texts)):
                    # Of the same sizes each time.
                    if place >= done:
                        done += 1
                        yield chunk
                return
            except _Padded as gap:
                texts.add(gap.column)

    def _parsed(
        self, features: Sequence[Feature], copied: Sequence[str], texts: Set[str]
    ) -> Generator[pa.RecordBatch, None, None]:
        """Read the file with one thread: only so do errors say in which row they are."""
        types = {name: pa.string() for name in copied}
        for feature in features:
            # Other types, and what is also copied as it is written, are parsed afterwards.
            direct = feature.type == "number" and feature.name not in texts
            types[feature.name] = ARROW[feature.type] if direct else pa.string()
        by_name = {feature.name: feature for feature in features}
        wanted, last = list(types), self.names[-1]
        # What follows an open quote is read as one field, of the last column or in a row that is too short.
        types.setdefault(last, pa.string())
        ends_with = ""
        with reading(self.path), self.path.open("rb") as file:
            stream = pa.CompressedInputStream(file, "gzip") if self.path.name.lower().endswith(".gz") else file
            checked = WithoutNul(stream, partial(nul_refusal, self.path, self.form))
            try:
                reader = csv.open_csv(
                    checked,
                    read_options=csv.ReadOptions(
                        block_size=self._block,
                        use_threads=False,
                        skip_rows=self.form.skip_lines,
                        column_names=self.names,
                        skip_rows_after_names=int(self.form.header),
                    ),
                    parse_options=csv.ParseOptions(
                        delimiter=self.form.separator_of(self.path),
                        newlines_in_values=True,
                        invalid_row_handler=_of_invalid_row,
                    ),
                    convert_options=csv.ConvertOptions(
                        column_types=types,
                        include_columns=list(types),
                        null_values=self.form.gaps,
                        decimal_point=self.form.decimal,
                        strings_can_be_null=False,
                    ),
                )
                plain = [name for name, kind in types.items() if kind == ARROW["number"]]
                for chunk in reader:
                    # The words for a missing value are none by now: this is NAN, or nan(ind), which is no number.
                    for name in plain:
                        if pc.any(pc.is_nan(chunk.column(name))).as_py():
                            raise _Padded(name)
                    # What is read ahead counts as read: near enough for a progress bar.
                    self._read = file.tell() / self.size
                    if chunk.num_rows:
                        ends_with = str(chunk.column(last)[-1])
                        yield chunk.select(wanted)
            except pa.ArrowInvalid as error:
                # A header without a line's end is no rows; the header itself was read before.
                if not self._is_header_alone():
                    self._check_gap(error, texts)
                    raise self._explained(error, by_name) from None
        if "\n" in ends_with:
            check_quotes(self.path, self.form)
        if checked.escapes:
            check_escapes(self.path, self.form)

    def _is_header_alone(self) -> bool:
        with open_text(self.path, self.form) as stream:
            return self.form.header and not any(line.strip() for line in itertools.islice(stream, 1, 2))

    def _check_gap(self, error: pa.ArrowInvalid, texts: Set[str]) -> None:
        """Raise a sign where what is no number is one, or a missing value, with white space around it."""
        if (match := _NO_NUMBER.match(one_line(error))) is not None:
            name = self.names[int(match[1])]
            if name not in texts and self._is_number(match[3].strip()):
                raise _Padded(name) from None

    def _is_number(self, word: str) -> bool:
        try:
            return word in self.form.gaps or isinstance(self.form.parse_number(word), float)
        except ValueError:
            return False

    def _filled(self, places: Sequence[int]) -> int | None:
        # By their places: several may have no name. pyarrow reads columns by their names.
        with reading(self.path), open_text(self.path, self.form) as stream:
            rows = python_csv.reader(stream, delimiter=self.form.separator_of(self.path))
            for row in itertools.islice(rows, int(self.form.header), None):
                for place in places:
                    if place < len(row) and row[place] not in self.form.gaps:
                        return place
        return None

    def share(self, rows: int) -> float:
        """Return the share of the file's bytes."""
        del rows
        return min(self._read, 1.0)

    def found_types(self, names: Sequence[str]) -> dict[str, Type | None]:
        """Return boolean or number where all values of a column are, and else text: a pass over the whole file."""
        from trainer.data.arrow_columns import convert

        left: dict[str, list[Type]] = {name: ["boolean", "number", "text"] for name in names}
        seen = dict.fromkeys(names, False)
        for chunk in self.chunks([Feature(name, "text") for name in names], ()):
            for name, possible in left.items():
                column = chunk.column(name)
                while True:
                    try:
                        values = convert(column, Feature(name, possible[0]), 0, "", from_text=True, form=self.form)
                    except InputError:
                        possible.pop(0)
                    else:
                        seen[name] |= values.null_count < len(values)
                        break
        return {name: possible[0] if seen[name] else None for name, possible in left.items()}

    def _explained(self, error: pa.ArrowInvalid, features: Mapping[str, Feature]) -> InputError:
        """Return pyarrow's message in terms of the table: rows counted without the header, columns by name."""
        text = one_line(error)
        if match := _NO_NUMBER.match(text):
            name, number = self.names[int(match[1])], self._row(match[2])
            if (feature := features.get(name)) is not None:
                place = f"{self.path}: row {number:,}, column {name!r}"
                return bad_value(place, match[3], feature, self.form, first_row=number == 1)
        if match := re.match(r"In CSV column #(\d+): (?:Row #(\d+): )?.*invalid UTF8", text):
            row = f"row {self._row(match[2]):,}, " if match[2] else ""
            return InputError(f"{self.path}: {row}column {self.names[int(match[1])]!r}: is not UTF-8 text")
        if match := re.match(r"CSV parse error: Row #(\d+): Expected (\d+) columns, got (\d+)", text):
            separator = self.form.separator_of(self.path)
            fields, width = int(match[3]), int(match[2])
            if fields < width:
                check_quotes(self.path, self.form)
            wrong = uneven_row(self._row(match[1]), fields, width, separator=separator, header=self.form.header)
            return InputError(f"{self.path}: {wrong}")
        if "straddling" in text:
            return InputError(f"{self.path}: a row is longer than {self._block >> 20} MiB; is a quote left open?")
        return InputError(f"{self.path}: cannot be read as comma-separated text: {one_line(text, 200)}")

    def _row(self, counted: str) -> int:
        """Return the number of a row, counted without what is above the first one."""
        return int(counted) - self.form.skip_lines - self.form.header
