"""Reads the YAML files that users supply; whatever is wrong with one becomes a line that names file and place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from trainer.errors import InputError, one_line


def read(path: Path, option: str, expected: str) -> Any:
    """Return a file's contents as plain values.

    Args:
        path: The file.
        option: The option that named it, such as ``--variants``.
        expected: What the file should hold, such as "a YAML list of variants".

    Raises:
        InputError: The file cannot be read, or is no YAML.
    """
    import yaml

    try:
        return yaml.safe_load(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file ({option})") from None
    except UnicodeDecodeError:
        raise InputError(f"{path}: is not a text file; write {expected}") from None
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or one_line(error)} ({option})") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        place = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        problem = getattr(error, "problem", None) or one_line(error, 150)
        raise InputError(f"{path}{place}: is not valid YAML: {one_line(problem)}") from None


def what(value: object) -> str:
    """Return what kind of thing a value is, in a message's words."""
    names = {dict: "a mapping", list: "a list", str: "text", int: "a number", float: "a number", bool: "true or false"}
    return "nothing" if value is None else names.get(type(value), type(value).__name__)
