"""In which themes a run's plots are drawn: the option ``--plot-style``."""

from __future__ import annotations

from typing import Literal, TypeAlias

from trainer.util.errors import InputError

PlotStyle: TypeAlias = Literal["light", "dark", "both"]
PLOT_STYLES: tuple[PlotStyle, ...] = ("light", "dark", "both")


def parse_plot_style(value: str) -> PlotStyle:
    """Return a style from what a user wrote.

    Raises:
        InputError: There is no such style.
    """
    if value not in PLOT_STYLES:
        raise InputError(f"plot_style: {value!r} is not allowed; it must be one of {', '.join(PLOT_STYLES)}")
    return value
