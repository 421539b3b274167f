"""Reads the data in a skops file: texts, numbers, lists and arrays. Restores no object, and runs no code.

A skops file is a zip with a tree of nodes in JSON, each of which names a type and what the object held. scikit-learn is
not needed to look into it.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np

#: Bytes of one member. A model of 10,000 trees has 80 MB.
_MOST = 1 << 30
#: The kinds of nodes that hold data, or a class by its name. None of them holds a function.
_LOADERS = frozenset(
    {"ObjectNode", "DictNode", "OrderedDictNode", "DefaultDictNode", "ListNode", "TupleNode", "SliceNode"}
    | {"JsonNode", "NdArrayNode", "TypeNode"}
)


class Node:
    """An object in a skops file. A ValueError, KeyError or TypeError says that the file is built in another way."""

    def __init__(self, state: dict[str, Any], file: SkopsFile) -> None:
        self.state, self._file = state, file
        #: Module and class.
        self.type = f"{state['__module__']}.{state['__class__']}"

    def __getitem__(self, name: str) -> Node:
        """Return an attribute of an object, or a dictionary's value."""
        content = self.state["content"]
        # An object's attributes are a node of their own.
        content = content["content"] if "__loader__" in content else content
        return Node(content[name], self._file)

    def __iter__(self) -> Iterator[Node]:
        """Iterate over a list, a tuple, or an array of objects."""
        return (Node(state, self._file) for state in self.state["content"])

    def value(self) -> Any:
        """Return a text, number, boolean or None; a list of them; or an array's values as a list."""
        loader = self.state["__loader__"]
        if loader == "JsonNode":
            return json.loads(self.state["content"])
        if loader == "NdArrayNode" and self.state["type"] == "numpy":
            return self._file.array(self.state["file"])
        if loader in ("ListNode", "TupleNode", "NdArrayNode"):
            return [node.value() for node in self]
        if loader == "DictNode":
            return {name: self[name].value() for name in self.state["content"]}
        raise ValueError(f"{self.type} is no plain value")


class SkopsFile:
    """A skops file's nodes."""

    def __init__(self, path: Path) -> None:
        with ZipFile(path) as archive:
            if sum(member.file_size for member in archive.infolist()) > _MOST:
                raise ValueError("the file is too large")
            self._members = {name: archive.read(name) for name in archive.namelist()}
        self.root = Node(json.loads(self._members.pop("schema.json")), self)

    def foreign_type(self, known: frozenset[str]) -> str | None:
        """Return a type, or a kind of node, that the file names anywhere and that is not known; None for none."""
        found: list[Any] = [self.root.state]
        while found:
            content = found.pop()
            if isinstance(content, list):
                found += content
            elif isinstance(content, dict):
                found += content.values()
                if "__loader__" in content:
                    name = f"{content['__module__']}.{content['__class__']}"
                    if name not in known or content["__loader__"] not in _LOADERS:
                        return f"{name} ({content['__loader__']})"
        return None

    def array(self, name: str) -> list[Any]:
        """Return the values of an array in a file of its own."""
        values: list[Any] = np.load(io.BytesIO(self._members[name]), allow_pickle=False).tolist()
        return values
