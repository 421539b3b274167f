"""Has plots written without being drawn, which takes half of a small run's processor time.

Their files have their names, the data that they carry, and their tables. Each picture is one pixel.
"""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

from PIL import Image
from PIL.PngImagePlugin import PngInfo
from trainer.plots import files, kinds
from trainer.plots.content import PNG_TEXT, Content

if TYPE_CHECKING:
    import pytest


def undraw(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw nothing in this process, until the patch is undone."""
    monkeypatch.setattr(files, "kinds", SimpleNamespace(draw=_known))
    monkeypatch.setattr(files, "darken", _known)
    monkeypatch.setattr(files, "save", _save)


def _known(content: Content | None) -> None:
    """Fail where no function draws a plot, as drawing does."""
    assert content is None or content.kind in kinds.DRAW


def _save(_figure: None, path: Path, carried: str = "") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    info = PngInfo()
    if carried:
        info.add_text(PNG_TEXT, carried, zip=True)
    Image.new("L", (1, 1)).save(path, format="png", pnginfo=info)
