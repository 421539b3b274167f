"""What a plot shows, apart from how it is drawn: it is computed once, and drawn as often as wanted.

A plot's PNG file carries its content, so that a report can draw it anew as SVG; its table stands beside it as CSV.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from trainer.plots.style import Heading

#: The name of the text in a PNG file that holds the plot's content.
PNG_TEXT = "trainer.plot"
#: Digits that are kept for drawing: more than pixels can show. The table has all of them.
_DIGITS = 5


@dataclass(frozen=True)
class Content:
    """What a plot shows.

    ``kind`` is its name in ``kinds.DRAW``; ``shown`` all that its drawing needs: numbers, texts, lists and arrays;
    ``table`` the columns of its CSV file, all of one length.
    """

    kind: str
    heading: Heading
    shown: Mapping[str, Any]
    table: Mapping[str, Any] = field(default_factory=dict)

    def text(self) -> str:
        """Return what the drawing needs, as a text."""
        content = {
            "kind": self.kind,
            "title": self.heading.title,
            "subtitle": self.heading.subtitle,
            "shown": {name: _plain(value) for name, value in self.shown.items()},
        }
        return json.dumps(content, separators=(",", ":"))

    def write_table(self, path: Path) -> None:
        """Write the table as a CSV file."""
        columns = [column.tolist() if isinstance(column, np.ndarray) else column for column in self.table.values()]
        with path.open("w", encoding="utf-8", newline="") as stream:
            writer = csv.writer(stream)
            writer.writerow(self.table)
            writer.writerows(zip(*columns, strict=True))


def parse_content(text: str) -> Content:
    """Return the content of a plot from its text; the table is not in it.

    Raises:
        ValueError: This is no such text.
    """
    try:
        found = json.loads(text)
        heading = Heading(str(found["title"]), str(found["subtitle"]))
        return Content(str(found["kind"]), heading, dict(found["shown"]))
    except (KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"not a plot's content: {error!r}") from error


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return _rounded(value).tolist() if value.dtype.kind == "f" else value.tolist()
    if isinstance(value, np.generic):
        return value.item()
    return value


def _rounded(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return numbers without the digits that no drawing shows beside the largest of them."""
    finite = np.abs(values[np.isfinite(values)])
    largest = float(finite.max()) if finite.size else 0.0
    if not largest:
        return values
    digits = _DIGITS - 1 - math.floor(math.log10(largest))
    return np.round(values, digits) if abs(digits) < 300 else values
