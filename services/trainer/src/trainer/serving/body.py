"""Reads a request's body: each form of MLflow's scoring protocol, into named columns of plain values.

Status codes and messages are those of MLflow's scoring server. What is read differently is refused there or here on
purpose: a row that is shorter than the others, and a column that appears twice.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any

import msgspec

from trainer.data.csv_row_faults import escaped_quote, nul_row, open_quote, uneven_row
from trainer.util.text import one_line

#: A column's values, one a row, in a list, a tuple, or an array of numbers.
Columns = Mapping[Any, Any]

_decode = msgspec.json.Decoder().decode
_FORMS = ("dataframe_split", "dataframe_records", "instances", "inputs")
_WANTED = f"The input must be a JSON dictionary with exactly one of the input fields {set(_FORMS)}"


class RequestError(Exception):
    """A request cannot be answered: the status, MLflow's error code, and what is wrong."""

    def __init__(self, message: str, code: str = "BAD_REQUEST", status: int = 400) -> None:
        super().__init__(message)
        self.message, self.code, self.status = message, code, status


@dataclass(frozen=True)
class Table:
    """A request's rows.

    ``from_text`` says that every value is a text, in which a word can stand for a missing one; ``typed`` that each
    column has a type, so that a text is no number, whatever it spells. JSON is neither.
    """

    columns: Columns
    rows: int
    from_text: bool = False
    params: Mapping[str, Any] = field(default_factory=dict)
    typed: bool = False


def decoded(body: bytes) -> str:
    """Return a body's text.

    Raises:
        RequestError: It is not UTF-8.
    """
    try:
        return body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise RequestError(f"the request is not UTF-8 text (byte {error.start:,})") from None


def read_csv(body: bytes) -> Table:
    """Return the table in a CSV body."""
    text = decoded(body).lstrip("\ufeff")
    csv.field_size_limit(max(csv.field_size_limit(), len(text) + 1))
    if "\0" in text and (wrong := nul_row(io.StringIO(text, newline=""))) is not None:
        raise RequestError(wrong)
    if '\\"' in text and (wrong := escaped_quote(io.StringIO(text, newline=""))) is not None:
        raise RequestError(wrong)
    # A line of nothing but blanks is none, as it is none to pandas; an empty field in quotes is a row of one.
    lines = csv.reader(io.StringIO(text, newline=""))
    rows = [row for row in lines if len(row) > 1 or (row and (not row[0] or row[0].strip(" \t")))]
    if not rows:
        raise RequestError("'No columns to parse from file'")
    names, *values = rows
    named = next((count for count in range(len(names), 0, -1) if names[count - 1]), 0)
    if named < len(names) and not any(any(row[named:]) for row in values):
        # Separators at the lines' ends make no columns.
        names, values = names[:named], [row[:named] if len(row) == len(names) else row for row in values]
    # A quote that is left open has all that follows it in the last field.
    if "\n" in rows[-1][-1] and (wrong := open_quote(io.StringIO(text, newline=""))) is not None:
        raise RequestError(wrong)
    return _from_rows(names, values, {}, from_text=True)


def read_json(body: bytes) -> Table:
    """Return the table in a JSON body."""
    content = _parsed(body)
    if not isinstance(content, dict):
        what = "a list" if isinstance(content, list) else f"unexpected input type '{type(content)}"
        raise RequestError(f"Invalid input. {_WANTED}. Received {what}.")
    found = [name for name in content if name in _FORMS]
    if len(found) != 1:
        raise RequestError(f"{_WANTED}. Received dictionary with input fields: {found}.")
    form, given, params = found[0], content[found[0]], content.get("params")
    params = params if isinstance(params, dict) else {}
    if form == "dataframe_split":
        return _split(given, params)
    if form == "dataframe_records":
        if not isinstance(given, list):
            kind = "dictionary" if isinstance(given, dict) else f"type {type(given)}"
            raise RequestError(f"Invalid input. Dataframe records format must be a list of records. Got {kind}.")
        return _records(given, params, form)
    return _columns(given, params) if isinstance(given, dict) else _records(given, params, form)


def _parsed(body: bytes) -> Any:
    try:
        # The fast parser first. It refuses what Python's takes beyond the standard: NaN, half of a surrogate pair.
        return _decode(body)
    except (msgspec.DecodeError, RecursionError):
        text = decoded(body)
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        message = f"Invalid input. Ensure that input is a valid JSON formatted string. Error: '{error!r}'"
        raise RequestError(one_line(message, 300)) from None


def _split(given: Any, params: Mapping[str, Any]) -> Table:
    if not isinstance(given, dict):
        kind = "list" if isinstance(given, list) else f"type {type(given)}"
        raise RequestError(f"Invalid input. Dataframe split format must be a dictionary. Got {kind}.")
    if "data" not in given or set(given) - {"columns", "data", "index"}:
        raise RequestError(
            "Invalid input. Dataframe split format must have 'data' field and optionally 'columns' and 'index' fields."
            f" Got {set(given)}.'"
        )
    names, rows = given.get("columns"), given["data"]
    if not isinstance(rows, list) or not (names is None or isinstance(names, list)):
        raise _not_valid("dataframe_split", "'columns' and 'data' must be lists")
    if names is None:
        # Columns without names: none of them is the model's.
        names = list(range(max((len(row) if isinstance(row, list) else 1 for row in rows), default=0)))
    if not all(isinstance(row, list) for row in rows):
        if rows and all(isinstance(row, dict) for row in rows):
            return _records([{name: row.get(name) for name in names} for row in rows], params, "dataframe_split")
        if len(names) != 1 or any(isinstance(row, list | dict) for row in rows):
            raise _not_valid("dataframe_split", "'data' must be a list of rows, each a list of values")
        rows = [[value] for value in rows]
    index = given.get("index")
    if index is not None and (not isinstance(index, list) or len(index) != len(rows)):
        raise _not_valid("dataframe_split", "'index' must have a value for each row")
    return _from_rows(names, rows, params, from_text=False)


def _from_rows(names: list[Any], rows: list[list[Any]], params: Mapping[str, Any], *, from_text: bool) -> Table:
    try:
        twice = len(set(names)) < len(names)
    except TypeError:
        raise _not_valid("dataframe_split", "'columns' must be names") from None
    if twice and rows:
        name = next(name for name in names if names.count(name) > 1)
        raise RequestError(f"column {name!r} appears more than once; columns need names of their own")
    width = len(names)
    if set(map(len, rows)) - {width}:
        number = next(number for number, row in enumerate(rows) if len(row) != width)
        raise RequestError(uneven_row(number + 1, len(rows[number]), width))
    values = list(zip(*rows, strict=True)) if rows else [()] * width
    return Table(dict(zip(names, values, strict=True)), len(rows), from_text, params)


def _records(given: Any, params: Mapping[str, Any], form: str) -> Table:
    """Return the table of rows that are dictionaries; what a row lacks is missing in it."""
    if not isinstance(given, list) or not all(isinstance(row, dict) for row in given):
        kinds = {type(row) for row in given} if isinstance(given, list) else {dict}
        if kinds == {list} or not kinds & {list, dict}:
            # Values without names: none of them is the model's.
            width = max((len(row) if isinstance(row, list) else 1 for row in given), default=0)
            return Table({index: [None] * len(given) for index in range(width)}, len(given), False, params)
        raise _not_valid(form, "each row must be a dictionary of columns' names and values")
    names = list(dict.fromkeys(name for row in given for name in row))
    columns: dict[str, Sequence[Any]]
    try:
        # Fast where every row has every column.
        columns = {name: list(map(itemgetter(name), given)) for name in names}
    except KeyError:
        if form == "instances":
            message = "Invalid input. The length of values for each input/column name are not the same"
            raise RequestError(message) from None
        columns = {name: [row.get(name) for row in given] for name in names}
    return Table(columns, len(given), False, params)


def _columns(given: dict[str, Any], params: Mapping[str, Any]) -> Table:
    if not all(isinstance(values, list) for values in given.values()):
        raise _not_valid("inputs", "each column must be a list of values")
    lengths = set(map(len, given.values()))
    if len(lengths) > 1:
        raise RequestError("Invalid input. The length of values for each input/column name are not the same")
    return Table(given, lengths.pop() if lengths else 0, False, params)


def _not_valid(form: str, what: str) -> RequestError:
    return RequestError(f"Invalid input. Provided {form} field is not a valid table: {what}")
