"""The values of the option ``--stream``: whether a table is read in passes, or held in memory."""

from __future__ import annotations

from typing import Literal, get_args

Stream = Literal["auto", "always", "never"]
STREAM: tuple[Stream, ...] = get_args(Stream)
