"""Boolean values as text: one table for the command line, for files and for requests."""

from __future__ import annotations

from collections.abc import Mapping

#: How columns of booleans are written, in any case: as pandas reads them.
BOOLEANS: Mapping[str, bool] = {"true": True, "false": False}
#: How people set a parameter or a variable.
FLAGS: Mapping[str, bool] = {**BOOLEANS, "yes": True, "no": False, "1": True, "0": False, "on": True, "off": False}
#: How the two classes of a target are written.
CLASSES: Mapping[str, bool] = {**FLAGS, "1.0": True, "0.0": False, "t": True, "f": False, "y": True, "n": False}
