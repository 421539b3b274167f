"""Whether a table is read in passes instead of being held in memory: what the option ``--stream`` takes."""

from __future__ import annotations

from typing import Literal, get_args

Stream = Literal["auto", "always", "never"]
STREAM: tuple[Stream, ...] = get_args(Stream)
