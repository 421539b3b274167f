"""The plots' colours in both themes: what is drawn in the light one becomes dark by replacing colour for colour.

So a plot is drawn by one function, and only with these colours; a shade of one is that colour, let through (alpha).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Steps of colour from a low value to a high one.
STEPS = 7


def _between(low: str, high: str) -> list[str]:
    """Return the colours from one to another, both included."""
    ends = [np.array([int(colour[at : at + 2], 16) for at in (1, 3, 5)]) for colour in (low, high)]
    shades = [np.round(ends[0] + (ends[1] - ends[0]) * step / (STEPS - 1)).astype(int) for step in range(STEPS)]
    return ["#" + "".join(f"{part:02X}" for part in shade) for shade in shades]


#: Each colour on a light ground and on a dark one. The six hues are Okabe and Ito's, which the colour-blind can tell
#: apart; two of them are darker than theirs, so that a line of any of them is seen on white (contrast of 3 or more).
COLOURS: dict[str, tuple[str, str]] = {
    "paper": ("#FFFFFF", "#15181C"),
    "ink": ("#1F2937", "#E5E7EC"),
    "grey": ("#6B7280", "#9CA3AF"),
    "pale": ("#E5E7EB", "#2E343B"),
    "blue": ("#0072B2", "#4DA6E0"),
    "orange": ("#D55E00", "#F28E46"),
    "green": ("#00926B", "#33C49A"),
    "pink": ("#C56BA0", "#E39CC4"),
    "sky": ("#3593CF", "#9AD4F5"),
    "amber": ("#B47A00", "#F2C14E"),
    **{
        f"step{step}": shades
        for step, shades in enumerate(zip(_between("#0071B3", "#D65F01"), _between("#4EA7E1", "#F38F47"), strict=True))
    },
}
_DARK = {light.lower(): dark for light, dark in COLOURS.values()}


def light(name: str) -> str:
    """Return a colour of the light theme, in which plots are drawn."""
    return COLOURS[name][0]


def darken(figure: Figure) -> None:
    """Give a figure the colours of the dark theme."""
    from matplotlib.collections import Collection
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch
    from matplotlib.text import Annotation, Text

    def patch(one: Any) -> None:
        if one is not None:
            face, edge = _dark(one.get_facecolor()), _dark(one.get_edgecolor())
            one.set_facecolor(face)
            one.set_edgecolor(edge)

    for artist in figure.findobj():
        if isinstance(artist, Text):
            artist.set_color(_dark(artist.get_color()))
            patch(artist.get_bbox_patch())
            if isinstance(artist, Annotation):
                patch(artist.arrow_patch)
        elif isinstance(artist, Line2D):
            face, edge = _dark(artist.get_markerfacecolor()), _dark(artist.get_markeredgecolor())
            artist.set_color(_dark(artist.get_color()))
            artist.set_markerfacecolor(face)
            artist.set_markeredgecolor(edge)
        elif isinstance(artist, Collection):
            face, edge = _all_dark(artist.get_facecolor()), _all_dark(artist.get_edgecolor())
            artist.set_facecolor(face)
            artist.set_edgecolor(edge)
        elif isinstance(artist, Patch):
            patch(artist)


def _dark(colour: Any) -> Any:
    from matplotlib.colors import to_hex, to_rgb, to_rgba

    if isinstance(colour, str) and colour in ("none", "auto"):
        return colour
    red, green, blue, alpha = to_rgba(colour)
    known = _DARK.get(to_hex((red, green, blue)))
    return colour if known is None else (*to_rgb(known), alpha)


def _all_dark(colours: Any) -> Any:
    rows = np.asarray(colours, dtype=np.float64).reshape(-1, 4)
    if len(rows) > 100:
        # Dots by the thousand have few colours.
        few, places = np.unique(rows, axis=0, return_inverse=True)
        return np.array([_dark(tuple(row)) for row in few])[places.ravel()]
    return np.array([_dark(tuple(row)) for row in rows]).reshape(-1, 4)
