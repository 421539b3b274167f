"""The public Python interface: what its docstrings show runs as it is written."""

from __future__ import annotations

import doctest
import inspect
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
import pytest
import trainer
from trainer.data.dataset import Dataset
from trainer.tracking import model_uri
from trainer.util.errors import InputError

from . import programs

FUNCTIONS = [name for name in trainer.__all__ if inspect.isfunction(getattr(trainer, name))]


def examples_of(thing: Any, name: str) -> list[doctest.DocTest]:
    return [test for test in doctest.DocTestFinder().find(thing, name, globs={}) if test.examples]


def run(test: doctest.DocTest) -> None:
    report: list[str] = []
    doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE).run(test, out=report.append)
    assert not report, "".join(report)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_example_runs(name: str, workdir: Path) -> None:
    """Each function shows its use, and the example gives what it says."""
    (example,) = examples_of(getattr(trainer, name), name)
    run(example)
    assert workdir.exists()


@pytest.mark.parametrize("module", [trainer, model_uri], ids=lambda module: module.__name__)
def test_example_of_a_module_runs(module: Any, workdir: Path) -> None:
    found = examples_of(module, module.__name__)
    assert found
    for example in found:
        run(example)
    assert workdir.exists()


def test_example_of_the_docs_runs(table: pd.DataFrame, workdir: Path) -> None:
    """The page's example is run as a script, in a folder that holds its file."""
    page = (Path(__file__).parents[3] / "docs" / "data-scientists" / "python-interface.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    table.rename(columns={"purchase": "Revenue"}).to_csv(workdir / "shop.csv", index=False)
    (workdir / "script.py").write_text(code.replace("200}", "5}").replace("500", "10"))
    done = programs.run(["script.py"], cwd=workdir)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("models:/purchase_predict/1\n")


def test_names_are_those_that_the_package_lists() -> None:
    assert set(trainer.__all__) <= set(dir(trainer.api))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        trainer.nothing  # noqa: B018 - the look is the test


def test_import_of_the_package_loads_nothing_heavy() -> None:
    code = "import sys, trainer; print({'pandas', 'numpy', 'mlflow', 'click'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "set()\n"


def test_sweep_reuses_what_was_trained(dataset: Dataset, workdir: Path) -> None:
    first = trainer.train(dataset, {"n_estimators": 4}, seed=5)
    done = trainer.sweep(dataset, [{"n_estimators": 4}, {"n_estimators": 6}], jobs=1, seed=5)
    assert [result.reused for result in done.results] == [True, False]
    assert done.results[0].run_id == first.run_id
    again = trainer.sweep(dataset, [{"n_estimators": 4}], jobs=1, seed=5, reuse=False)
    assert not again.results[0].reused
    assert workdir.exists()


def test_wrong_parameter_is_one_line(dataset: Dataset, workdir: Path) -> None:
    with pytest.raises(InputError, match="there is no parameter 'num_leafs'; did you mean 'num_leaves'"):
        trainer.train(dataset, {"num_leafs": 3})
    with pytest.raises(trainer.TrainerError, match="at least one variant"):
        trainer.sweep(dataset, [])
    with pytest.raises(InputError, match="explain: '5' is not allowed; it must be all, or a number of rows from 100"):
        trainer.train(dataset, explain=5)
    assert not (workdir / "mlartifacts").exists()


def test_server_is_that_of_the_environment(
    dataset: Dataset, server: str, workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    result = trainer.train(dataset, {"n_estimators": 3}, experiment="interface")
    assert str(result.url).startswith(server)
    assert mlflow.MlflowClient(server).get_run(str(result.run_id)).info.status == "FINISHED"
    assert workdir.exists()
