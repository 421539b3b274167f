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


def test_other_modules_can_be_put_off() -> None:
    """Pandas, by the ways in which this package and others use it; once it has been imported, nothing changes."""
    program = """
        import os, sys
        from trainer.accelerators import late_modules
        late_modules.put_off("pandas")
        import pandas as pd
        import trainer.data.dataset, trainer.sweeps.tasks
        loaded = lambda: "pandas._libs" in sys.modules
        assert not loaded()
        def check(function):
            if (child := os.fork()) == 0:
                print(function.__name__, function(), flush=True)
                os._exit(0)
            os.waitpid(child, 0)
        @check
        def attribute():
            return pd.DataFrame({"a": [1, 2]})["a"].sum().item(), type(pd).__name__
        @check
        def name():
            from pandas import concat
            return len(concat([pd.Series([1]), pd.Series([2])]))
        @check
        def below():
            import pandas.api.types
            return pandas.api.types.is_bool_dtype("bool")
        @check
        def version():
            return pd.__version__ == __import__("importlib.metadata").metadata.version("pandas")
        @check
        def arrow():
            import pyarrow
            return pyarrow.table({"a": [1, 2]}).to_pandas()["a"].sum().item()
        @check
        def data():
            from trainer import load_data
            return load_data(rows=600).train.rows
        import pandas.api.types
        late_modules.put_off("pandas")
        import pandas
        print("same", pandas is pd, type(pandas).__name__)
    """
    command = [sys.executable, "-c", textwrap.dedent(program)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=180)
    assert (done.returncode, done.stderr) == (0, "")
    said = done.stdout.splitlines()
    forked = ["attribute (3, 'module')", "name 2", "below True", "version True", "arrow 3", "data 480"]
    assert said == [*forked, "same True module"]


@pytest.mark.parametrize("first", ["numpy._core._multiarray_umath", "pyarrow.compute", "pandas.api.types"])
def test_module_below_is_imported_once(first: str) -> None:
    """A package that is loaded for a module below it may have imported that module itself: there is no second copy."""
    program = """
        import sys
        from trainer.accelerators import late_modules
        late_modules.put_off("pandas", "numpy", "pyarrow")
        import numpy, pandas, pyarrow
        __import__(sys.argv[1])
        print([
            name for name, module in list(sys.modules.items())
            if name.startswith(("numpy.", "pandas.", "pyarrow.")) and module.__spec__ is not None
            and (module.__spec__.loader is not module.__loader__ or module.__spec__._initializing)
        ])
        import sklearn.metrics
        print(sklearn.metrics.f1_score(numpy.array([1, 0]), pandas.Series(pyarrow.array([1, 0]))))
    """
    command = [sys.executable, "-c", textwrap.dedent(program), first]
    done = subprocess.run(command, capture_output=True, text=True, timeout=180)
    assert (done.stdout.splitlines(), done.stderr) == (["[]", "1.0"], "")


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
