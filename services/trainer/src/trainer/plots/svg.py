"""Draws plots as SVG for a page: its colours are the page's variables, so that one drawing is right in both themes."""

from __future__ import annotations

import re
from html import escape
from io import StringIO
from typing import TYPE_CHECKING

from trainer.plots.kinds import draw
from trainer.plots.themes import COLOURS

if TYPE_CHECKING:
    from trainer.plots.content import Content

_NAMES = {shades[0].lower(): name for name, shades in COLOURS.items()}


def svg(content: Content, mark: str) -> str:
    """Return a plot as an ``svg`` element for a page with ``variables``. It names no other file and no address.

    Args:
        content: What it shows.
        mark: Letters and digits that no other plot of the page has: the names inside begin with them.

    Raises:
        ValueError: There is no such kind of plot.
    """
    from matplotlib import rc_context

    stream = StringIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    figure = draw(content)
    # Letters stay letters: they can be searched for and copied, and the file is a fifth as large.
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": mark}):
        figure.savefig(stream, format="svg", metadata=nothing)
    text = stream.getvalue()
    # matplotlib's style would be that of the whole page.
    unwanted = r"<metadata>.*?</metadata>|<style.*?</style>"
    text = re.sub(unwanted, "", text[text.index("<svg") :], count=2, flags=re.DOTALL)
    width, height = (round(72 * inches) for inches in figure.get_size_inches())
    label = escape(f"Plot of {content.heading.title}" if content.heading.title else "Plot")
    opening = f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{label}" stroke-linejoin="round">'
    text = re.sub(r"<svg[^>]*>", lambda _: opening, text, count=1)
    return re.sub(r"<[^>]+>", lambda tag: _adapted(tag[0], mark), text).strip()


def variables() -> str:
    """Return the style of a page that shows such plots: light on paper, and on a screen as the reader has chosen."""
    light, dark = (" ".join(f"--plot-{name}: {shades[theme]};" for name, shades in COLOURS.items()) for theme in (0, 1))
    return f":root {{ {light} }}\n@media screen and (prefers-color-scheme: dark) {{ :root {{ {dark} }} }}\n"


def _adapted(tag: str, mark: str) -> str:
    """Return a tag with the page's colours, names of its own, and no digits that nobody sees."""
    tag = re.sub(r'^<g id="[^"]*"', "<g", tag).replace("xlink:href", "href")
    tag = re.sub(r'( id="|href="#|url\(#)', rf"\1{mark}-", tag)
    # Hundredths of a point are enough.
    tag = re.sub(r"(\.\d\d)\d+", r"\1", tag)
    return re.sub(
        "#[0-9a-f]{6}(?=[;\"'])",
        lambda found: f"var(--plot-{_NAMES[found[0]]})" if found[0] in _NAMES else found[0],
        tag,
    )
