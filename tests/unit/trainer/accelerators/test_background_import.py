"""Importing ahead: beside the fit, once, ended before the fit's results are used, and never in the fit's way."""

from __future__ import annotations

import signal
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest
from trainer.accelerators import background_import

pytestmark = pytest.mark.process


@pytest.fixture
def slow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module whose import takes as long as a file is missing, 10 seconds at most."""
    (tmp_path / "slow_module.py").write_text(
        "import time\nfrom pathlib import Path\n"
        f"end, go = time.monotonic() + 10, Path({str(tmp_path / 'go')!r})\n"
        "while not go.exists() and time.monotonic() < end:\n    time.sleep(0.005)\n"
        "DONE = go.exists()\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "slow_module", raising=False)
    return "slow_module"


def test_module_is_imported_during_the_fit(slow: str, tmp_path: Path) -> None:
    """Module is imported while the fit goes on and is whole at its end."""
    with background_import.importing(slow) as begin:
        begin(None)
        begin(None)  # the second iteration
        (tmp_path / "go").touch()
    assert sys.modules[slow].DONE


def test_nothing_is_imported_where_nothing_is_fitted(slow: str) -> None:
    with background_import.importing(slow):
        pass
    assert slow not in sys.modules


# A thread's traceback, which pytest takes for itself.
@pytest.mark.filterwarnings("error")
def test_failed_import_is_left_to_the_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Failure of the import is left to whoever needs the module."""
    (tmp_path / "broken_module.py").write_text("raise OSError('no disk')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with background_import.importing("broken_module") as begin:
        begin(None)
    assert capfd.readouterr() == ("", "")


def test_fit_restores_the_switch_interval(slow: str, tmp_path: Path) -> None:
    """End of the fit leaves Python's turns as they were."""
    turns = [sys.getswitchinterval()]
    (tmp_path / "go").touch()

    def fit() -> None:
        with background_import.importing(slow) as begin:
            begin(None)
            turns.append(sys.getswitchinterval())
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit()
    assert turns[1] < turns[0] == sys.getswitchinterval()


def test_other_fit_keeps_the_switch_interval(slow: str, tmp_path: Path) -> None:
    """Fit beside one that imports leaves Python's turns alone."""
    before = sys.getswitchinterval()
    with ExitStack() as first, ExitStack() as second:
        first.enter_context(background_import.importing(slow))(None)
        second.enter_context(background_import.importing("sys"))(None)
        (tmp_path / "go").touch()
        first.close()
        second.close()
        assert sys.getswitchinterval() == before


def test_single_run_has_imports_when_fit_ends(workdir: Path) -> None:
    """Run by itself has all that it needs when its fit ends."""
    program = (
        "import sys\n"
        "from trainer.cli import main\n"
        "from trainer.training import fit\n"
        "inner = fit.fit_variant\n"
        "def outer(*arguments, **options):\n"
        "    assert 'skops.io' not in sys.modules\n"
        "    return inner(*arguments, **options)\n"
        "fit.fit_variant = outer\n"
        "from trainer.runs import train\n"
        "log = train._log_model\n"
        "def logged(*arguments):\n"
        "    assert {'skops.io', 'matplotlib.figure', 'trainer.runs.preload'} <= set(sys.modules)\n"
        "    return log(*arguments)\n"
        "train._log_model = logged\n"
        "main.main(['--n-estimators', '5'])\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=workdir, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_signal_waits_while_lightgbm_loads(tmp_path: Path, name: str) -> None:
    """Signal that comes while LightGBM loads waits for it."""
    # LightGBM takes a scikit-learn whose import was cut short for one that is not installed.
    program = (
        "import atexit, os, signal, sys\n"
        "class Finder:\n"
        "    def find_spec(self, module, path, target=None):\n"
        "        if module == 'lightgbm.compat':\n"
        f"            os.kill(os.getpid(), signal.{name})\n"
        "sys.meta_path.insert(0, Finder())\n"
        "atexit.register(lambda: print('lightgbm.sklearn' in sys.modules))\n"
        "from trainer import __main__\n"
        "sys.argv = ['trainer', '--n-estimators', '5']\n"
        "__main__.main()\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 128 + signal.Signals[name]
    assert done.stderr.splitlines()[-1] == "trainer: error: interrupted"
    assert done.stdout == "True\n"
