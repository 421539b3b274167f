"""SciPy's statistics are loaded when they are used, and not before; what scikit-learn does with them is the same."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from .. import programs
from .forks import Forks, forks

pytestmark = pytest.mark.process

#: Scikit-learn is imported and the module not loaded; each function of a program is called in a fork.
IMPORTED = """
import os, sys, threading
import trainer.accelerators.late_modules
import sklearn.metrics
loaded = lambda: any(name.startswith("scipy.stats.") for name in sys.modules)
assert not loaded()
def check(function):
    if (child := os.fork()) == 0:
        print(function.__name__, function(), flush=True)
        os._exit(0)
    os.waitpid(child, 0)
"""


@pytest.fixture(scope="module")
def imported() -> Iterator[Forks]:
    """Return an interpreter that has imported scikit-learn."""
    with forks(IMPORTED) as started:
        yield started


def test_sweeps_processes_and_runs_need_none(workdir: Path) -> None:
    """Neither the imports of a sweep's processes, nor a run with its fit, metrics, model and plots."""
    program = """
        import sys
        from trainer.sweeps import sweep
        for name in sweep.PRELOAD:
            __import__(name)
        from trainer.cli.main import main
        try:
            main(["train", "--n-estimators", "3", "--no-register"])
        except SystemExit as end:
            print(end.code, [name for name in sys.modules if name.startswith("scipy.stats.")])
    """
    code = textwrap.dedent(program)
    done = subprocess.run([sys.executable, "-c", code], cwd=workdir, capture_output=True, text=True, timeout=180)
    assert done.stdout.splitlines()[-1] == "0 []", done.stderr


def test_module_is_whole_when_it_is_used(imported: Forks) -> None:
    """By each way to a name of it: one that scikit-learn takes, another, all of them, and a module below."""
    program = """
        @check
        def function():
            from scipy.stats import rankdata
            return loaded(), rankdata([30, 10, 20]).tolist()
        @check
        def distribution():
            from scipy.stats import chi2
            return loaded(), [f"{of.ppf(0.5, *given):.2f}" for of, given in ((chi2, [2]), (chi2(2), []))]
        @check
        def attribute():
            from scipy import stats
            found = stats.norm.cdf(0.0).item() == 0.5
            return found, type(stats).__name__, type(stats.__loader__).__name__
        @check
        def every():
            import scipy.stats
            return "norm" in dir(scipy.stats)
        @check
        def star():
            names = {}
            exec("from scipy.stats import *", names)
            return names["norm"].cdf(0.0).item() == 0.5
        @check
        def below():
            import scipy.stats.mstats
            return scipy.stats.mstats.gmean([4.0, 1.0]).item()
    """
    assert imported.run(program) == [
        "function (False, [3.0, 1.0, 2.0])",
        "distribution (False, ['1.39', '1.39'])",
        "attribute (True, 'module', 'SourceFileLoader')",
        "every True",
        "star True",
        "below 2.0",
    ]


@pytest.mark.parametrize("first", ["scipy.stats.distributions", "scipy.stats._stats_py", "scipy.stats.qmc"])
def test_module_below_is_imported_once(first: str) -> None:
    """The package that is loaded for a module below it may have imported that module: there is no second copy."""
    program = """
        import sys
        import trainer.accelerators.late_modules
        import scipy.stats
        executed = []
        from importlib.machinery import SourceFileLoader
        SourceFileLoader.exec_module = lambda self, module, run=SourceFileLoader.exec_module: (
            executed.append(module.__name__), run(self, module))[1]
        __import__(sys.argv[1])
        print(sorted({name for name in executed if executed.count(name) > 1}))
        module = sys.modules[sys.argv[1]]
        print(sys.argv[1] in executed, module.__spec__.loader is module.__loader__, vars(scipy.stats)["norm"].cdf(0.0))
    """
    command = [sys.executable, "-c", textwrap.dedent(program), first]
    done = subprocess.run(command, capture_output=True, text=True, timeout=180)
    assert (done.stdout.splitlines(), done.stderr) == (["[]", "True True 0.5"], "")


def test_its_edges(imported: Forks) -> None:
    """A name that there is not, a search through all modules, a load that fails, and threads at the same moment."""
    program = """
        import scipy.stats
        @check
        def missing():
            return hasattr(scipy.stats, "__no_such__"), loaded(), hasattr(scipy.stats, "no_such"), loaded()
        @check
        def search():
            import inspect
            inspect.getmodule(compile("0", "no such file", "eval"))
            [hasattr(module, "__warningregistry__") for module in list(sys.modules.values())]
            return loaded()
        @check
        def interrupted():
            from importlib.machinery import SourceFileLoader
            whole = SourceFileLoader.exec_module
            def fail(self, module):
                SourceFileLoader.exec_module = whole
                raise KeyboardInterrupt
            SourceFileLoader.exec_module = fail
            try:
                scipy.stats.norm
            except KeyboardInterrupt:
                return scipy.stats.norm.cdf(0.0).item() == 0.5
        @check
        def threads():
            found = []
            names = ["norm", "rankdata", "ttest_ind", "zscore"] * 3
            all_at_once = threading.Barrier(len(names))
            def ask(name):
                all_at_once.wait()
                found.append(callable(getattr(scipy.stats, name)))
            asking = [threading.Thread(target=ask, args=(name,)) for name in names]
            [one.start() for one in asking]
            [one.join() for one in asking]
            return found == [True] * len(names)
    """
    assert imported.run(program) == [
        "missing (False, False, False, True)",
        "search False",
        "interrupted True",
        "threads True",
    ]


def test_estimators_that_use_it_are_the_same(imported: Forks) -> None:
    """As in the process that programs are forked from, where scikit-learn is imported by itself."""
    program = """
        import numpy as np
        from sklearn.covariance import EllipticEnvelope
        from sklearn.isotonic import IsotonicRegression
        from sklearn.preprocessing import QuantileTransformer
        rng = np.random.default_rng(1)
        x = rng.normal(size=(60, 2))
        y = x[:, 0] - x[:, 1] ** 2
        print(EllipticEnvelope(random_state=1).fit(x).correct_covariance(x))
        print(IsotonicRegression(increasing="auto").fit(x[:, 0], y).predict([0.1]))
        print(QuantileTransformer(n_quantiles=20, output_distribution="normal").fit_transform(x)[:3])
    """
    alone = programs.run(["-c", textwrap.dedent(program)], check=True)
    assert alone.stdout
    assert imported.run(program) == alone.stdout.splitlines()
