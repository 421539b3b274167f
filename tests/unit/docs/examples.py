"""The commands that the documentation shows: its console blocks, and what stands in the text as `docker compose …`."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[3]
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "examples/README.md")]
PAGES += sorted((ROOT / "docs").rglob("*.md"))
BLOCK = re.compile(r"^( *)```(?:console|shell)\n(.*?)^\1```$", re.DOTALL | re.MULTILINE)
INLINE = re.compile(
    r"`((?:docker compose |(?:\./)?(?:scripts|deploy/\w+)/[\w-]+(?![\w.])|trainer (?=[a-z]+ ))[^`\n]*)`"
)
ASSIGNMENT = re.compile(r"([A-Za-z_]\w*)=(.*)", re.DOTALL)
SEPARATORS = {"&&", "||", ";", "|", "&"}


class Command(NamedTuple):
    """A command of the documentation: where it stands, its words, and the variables that are set for it."""

    page: str
    words: list[str]
    variables: dict[str, str]

    def __str__(self) -> str:
        return f"{self.page}: {shlex.join(self.words)}"


def _lines(block: str) -> Iterator[str]:
    """Yields a block's commands, each in one line: a backslash, a pipe or an open quote goes on in the next line."""
    held = ""
    for line in block.splitlines():
        if line.lstrip().startswith("#"):
            continue
        held = f"{held}\n{line}" if held.count("'") % 2 else f"{held} {line}".strip()
        if held.endswith("\\"):
            held = held[:-1]
        elif not held.endswith("|") and not held.partition(" #")[0].count("'") % 2:
            yield held
            held = ""
    yield held


def _words(line: str) -> list[str]:
    """Returns a line's words; separators are words of their own. A placeholder such as <this repository> is one."""
    lexer = shlex.shlex(re.sub(r"<([^>]*)>", lambda match: match[1].replace(" ", "-"), line), posix=True)
    lexer.whitespace_split, lexer.commenters = True, ""
    words: list[str] = []
    for word in lexer:
        if word.startswith("#"):
            break
        if word.startswith(">"):
            # Where the output goes to: no word of the command's.
            continue
        words.append(word)
    return words


def _commands(page: str, line: str, set_before: dict[str, str]) -> Iterator[Command]:
    words: list[str] = []
    for word in [*_words(line), ";"]:
        if word not in SEPARATORS:
            words.append(word)
            continue
        variables = dict(set_before)
        exported = words[:1] == ["export"]
        rest = words[1:] if exported else words
        while rest and (rest[0] == "sudo" or ASSIGNMENT.fullmatch(rest[0])):
            if found := ASSIGNMENT.fullmatch(rest[0]):
                variables[found[1]] = found[2]
            rest = rest[1:]
        if rest and rest[0].startswith("$") and (known := variables.get(rest[0][1:])):
            yield from _commands(page, f"{known} {shlex.join(rest[1:])}", set_before)
        elif rest:
            yield Command(page, rest, variables)
        else:
            # Set for what follows in the block.
            set_before.update(variables)
        words = []


def commands() -> list[Command]:
    """Returns all commands of the documentation."""
    found: list[Command] = []
    for path in PAGES:
        page, text = str(path.relative_to(ROOT)), path.read_text()
        for _, block in BLOCK.findall(text):
            variables: dict[str, str] = {}
            for line in _lines(block):
                found += _commands(page, line, variables)
        for line in INLINE.findall(BLOCK.sub("", text)):
            # Those that leave something out show a word, and no command.
            if "…" not in line and "'" not in line.replace("'*'", ""):
                found += _commands(page, line.replace("'*'", '"*"'), {})
    return found
