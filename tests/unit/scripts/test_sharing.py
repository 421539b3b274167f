"""`scripts/test --quick`: each test file is one process's, and the processes take about equally long."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from .. import sharing

FILES = [f"tests/unit/test_{letter}.py" for letter in "abcdefg"]


class Cache(dict[str, Any]):
    """What pytest keeps between two runs."""

    set = dict.__setitem__


def config_of(root: Path, cache: Cache) -> Any:
    """Return what is asked for of pytest's configuration."""
    return SimpleNamespace(rootpath=root, cache=cache)


def own_files(plugin: sharing.Sharing, count: int) -> list[list[str]]:
    """Return what the plugin hands to each of so many processes."""
    nodes = [SimpleNamespace(workerinput={"workerid": f"gw{n}", "workercount": count}) for n in range(count)]
    for node in nodes:
        plugin.pytest_configure_node(node)
    return [node.workerinput["own_files"] for node in nodes]


@pytest.mark.parametrize("seconds", [{}, {FILES[0]: 9.0, FILES[3]: 0.5, "gone": 4.0}], ids=["first time", "later"])
@pytest.mark.parametrize("count", [1, 2, 3, 9])
def test_each_file_is_one_processes(seconds: dict[str, float], count: int) -> None:
    found = sharing.shares(FILES, count, seconds)
    assert len(found) == count
    assert sorted(file for share in found for file in share) == FILES


def test_shares_take_equally_long() -> None:
    """A long file's process has few others; one that is new counts as usual."""
    seconds = dict(zip(FILES, (9.0, 1.0, 2.0, 3.0, 4.0, 5.0), strict=False))
    one, other = sharing.shares(FILES, 2, seconds)
    lengths = [sum(seconds.get(file, 4.0) for file in share) for share in (one, other)]
    assert sorted(lengths) == [14.0, 14.0]


def test_seconds_are_those_of_the_last_time(tmp_path: Path) -> None:
    """Of a file whose tests did not run, those of the time before; of one that is gone, none."""
    cache = Cache({sharing.CACHE_KEY: {FILES[0]: 2.0, FILES[1]: 3.0, "tests/unit/test_gone.py": 1.0}})
    plugin = sharing.Sharing(config_of(tmp_path, cache), FILES)
    before = own_files(plugin, 2)
    for name, duration in (("one", 5.0), ("two[a::b]", 6.0)):
        report: Any = SimpleNamespace(nodeid=f"{FILES[1]}::test_{name}", duration=duration)
        plugin.pytest_runtest_logreport(report)
    assert own_files(plugin, 2) == before
    plugin.pytest_sessionfinish()
    assert cache[sharing.CACHE_KEY] == {FILES[0]: 2.0, FILES[1]: 11.0}


def test_process_leaves_out_others_files(tmp_path: Path) -> None:
    """Without shares, and of folders, nothing is left out."""
    for name in ("test_a.py", "test_b.py"):
        (tmp_path / name).touch()
    config = config_of(tmp_path, Cache())
    assert not sharing.is_anothers(tmp_path / "test_a.py", config)
    config.workerinput = {"own_files": ["test_a.py"]}
    named = ("test_a.py", "test_b.py", ".")
    assert [sharing.is_anothers(tmp_path / name, config) for name in named] == [False, True, False]
