"""Reads the YAML files that users supply; whatever is wrong with one becomes a line that names file and place."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from trainer.util.errors import InputError
from trainer.util.text import one_line


class Located(dict[Any, Any]):
    """A mapping that knows its place in its file: the line of each key, counted from 1."""

    lines: dict[Any, int]


def place(path: Path | str, content: object, key: object = None) -> str:
    """Return the file's name and, where ``content`` is one of its mappings, the line of ``key`` or of the first key."""
    lines = content.lines if isinstance(content, Located) else {}
    line = next(iter(lines.values()), None) if key is None else lines.get(key)
    return f"{path}, line {line}" if line else str(path)


def read(path: Path, option: str, expected: str) -> Any:
    """Return a file's contents as plain values, mappings as ``Located``.

    Args:
        path: The file.
        option: The option that named it, such as ``--variants``.
        expected: What the file should hold, such as "a YAML list of variants".

    Raises:
        InputError: The file cannot be read, is no YAML, or gives a key twice.
    """
    import yaml

    try:
        return yaml.load(path.read_text(encoding="utf-8-sig"), _loader())  # noqa: S506 - it makes plain values
    except FileNotFoundError:
        raise InputError(f"{path}: no such file ({option})") from None
    except UnicodeDecodeError:
        raise InputError(f"{path}: is not a text file; write {expected}") from None
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or one_line(error)} ({option})") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        problem = getattr(error, "problem", None) or one_line(error, 150)
        raise InputError(f"{path}{where}: is not valid YAML: {one_line(problem)}") from None


@cache
def _loader() -> Any:
    """Return YAML's safe loader, which additionally notes lines, and refuses a key that is given twice."""
    import yaml

    class Loader(yaml.SafeLoader):
        def construct_yaml_map(self, node: yaml.MappingNode) -> Any:
            content = Located()
            yield content
            content.lines = {}
            # Before keys are merged in ("<<"), which may be there already.
            own = [key for key, _ in node.value if key.tag != "tag:yaml.org,2002:merge"]
            content.update(self.construct_mapping(node))
            for key in own:
                name = self.construct_object(key)
                if name in content.lines:
                    problem = f"{name!s} is given twice, first in line {content.lines[name]}; remove one of them"
                    raise yaml.constructor.ConstructorError(problem=problem, problem_mark=key.start_mark)
                content.lines[name] = key.start_mark.line + 1

    Loader.add_constructor("tag:yaml.org,2002:map", Loader.construct_yaml_map)
    return Loader


def what(value: object) -> str:
    """Return what kind of thing a value is, in a message's words."""
    if isinstance(value, dict):
        return "a mapping"
    names = {list: "a list", str: "text", int: "a number", float: "a number", bool: "true or false"}
    return "nothing" if value is None else names.get(type(value), type(value).__name__)
