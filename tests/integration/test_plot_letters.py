"""The plots of the trainer's image: names in every script are drawn as letters, not as the boxes of letters unknown."""

from __future__ import annotations

import json
from typing import Any

import pytest

NAMES = {
    "Chinese": "年龄與收入",
    "Japanese": "年齢とカナ",
    "Korean": "한국어 나이",
    "Arabic": "العمر",
    "Hebrew": "הגיל",
    "Devanagari": "आयु क्षेत्र",
    "Bengali": "বয়স",
    "Tamil": "வயது",
    "Telugu": "వయస్సు",
    "Thai": "อายุ",
    "Khmer": "អាយុ",
    "Ethiopic": "ዕድሜ",
    "emoji": "🚗🎉😀",
    "rare Chinese": "㐀䶵",
}
#: Draws each name by itself, as plots do; prints of each what matplotlib lacked, and how many of its letters are boxes.
PROGRAM = """
import json, sys, warnings
import numpy as np
from trainer.plots import Heading, style

def drawn(text):
    figure = style.canvas(Heading("", text), "", "")
    figure.canvas.draw()
    pixels = np.asarray(figure.canvas.buffer_rgba())[..., 0] < 200
    return pixels[:, pixels.any(axis=0)].tobytes()

found = {}
box = drawn(chr(0x0378))  # No letter, and in no font.
for script, name in json.load(sys.stdin).items():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        whole, each = drawn(name), [drawn(letter) for letter in name if letter.isprintable()]
    found[script] = [sorted({str(one.message) for one in caught}), sum(one == box for one in each), len(whole)]
print(json.dumps([found, len(box)]))
"""


@pytest.fixture(scope="module")
def drawn(idle_trainer: Any) -> dict[str, tuple[list[str], int, int]]:
    """Of each script what matplotlib lacked, how many letters are boxes, and how many pixels were drawn."""
    program = f"import io, sys; sys.stdin = io.StringIO({json.dumps(json.dumps(NAMES))})\n{PROGRAM}"
    code, output = idle_trainer.exec_run(["python3", "-c", program])
    assert code == 0, output.decode()
    found, box = json.loads(output.decode().splitlines()[-1])
    # Otherwise nothing below says anything: letters unknown are drawn as boxes.
    assert box > 0
    result: dict[str, tuple[list[str], int, int]] = found
    return result


@pytest.mark.parametrize("script", NAMES)
def test_letters_are_no_boxes(drawn: dict[str, tuple[list[str], int, int]], script: str) -> None:
    lacked, boxes, pixels = drawn[script]
    assert lacked == []
    assert boxes == 0
    assert pixels > 0
