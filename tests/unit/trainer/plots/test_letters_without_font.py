"""Names whose letters no font of this machine has: the plots are there, and the terminal says nothing of it."""

from __future__ import annotations

import json
from pathlib import Path

from .. import programs

#: In no font that most machines have, and in none at all.
NAMES = ("आयु", "🛸", "\u0378")


def test_letters_without_a_font_are_silent(workdir: Path) -> None:
    """Of a run and of a report; as a program, whose warnings are those that a user sees."""
    rows = [",".join([*(str((row * 7 + place) % 11) for place in range(3)), NAMES[row % 3]]) for row in range(300)]
    (workdir / "t.csv").write_text("\n".join([",".join([*NAMES, "सच"]), *rows]) + "\n", encoding="utf-8")
    tracked = ("--tracking-uri", f"sqlite:///{workdir}/mlflow.db")
    fit = ("train", "--data", "t.csv", "--target", "सच", "--n-estimators", "4", "--json", *tracked)
    with programs.start_trainer(*fit, cwd=workdir) as process:
        out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert all(line.startswith("trainer: ") for line in err.splitlines())
    assert "Glyph" not in err
    run = json.loads(out)["run_id"]
    with programs.start_trainer("compare", run, "--html", "r.html", *tracked, cwd=workdir) as process:
        _, err = process.communicate(timeout=120)
    assert (process.returncode, "Glyph" in err) == (0, False)
    report = (workdir / "r.html").read_text(encoding="utf-8")
    # A browser has letters of its own.
    assert all(name in report for name in NAMES[:2])
    assert len(list(workdir.rglob("feature_importance.png"))) == 1
