"""MLflow's parts for language models are loaded when they are used, and not before."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = pytest.mark.process

CLIENT = """
import sys
import trainer.accelerators.lazy_modules
import mlflow
mlflow.MlflowClient("http://127.0.0.1:1", "http://127.0.0.1:1")
"""


def run(program: str) -> str:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_client_and_run_need_no_language_models() -> None:
    loaded = run(
        CLIENT + "import trainer.runs.preload\n"
        "print([name for name in sys.modules if name.startswith(('mlflow.genai.', 'mlflow.gateway.', 'fastapi'))])\n"
    )
    assert loaded == "[]\n"


def test_module_is_whole_when_it_is_used() -> None:
    assert run(CLIENT + "print(callable(mlflow.genai.evaluate), 'fastapi' in sys.modules)\n") == "True True\n"


def test_module_below_it_can_be_imported() -> None:
    program = CLIENT + "from mlflow.genai.scorers import Scorer\nprint(Scorer is mlflow.genai.scorers.Scorer)\n"
    assert run(program) == "True\n"


def test_store_in_a_database_loads_them() -> None:
    program = CLIENT + "import mlflow.store.tracking.sqlalchemy_store\nprint(callable(mlflow.genai.make_judge))\n"
    assert run(program) == "True\n"


def test_mlflow_has_its_own_loader() -> None:
    loader = "import mlflow\nprint(type(mlflow.__loader__), type(mlflow.__spec__.loader))\n"
    assert run(CLIENT + loader) == run(loader)


@pytest.mark.parametrize("where", ["command", "variants"])
def test_commands_and_variants_put_them_off(where: str) -> None:
    """The command line, and the processes of a sweep, begin with it."""
    begin = {
        "command": "from trainer.cli.main import main\ntry:\n    main(['--version'])\nexcept SystemExit:\n    pass\n",
        "variants": "from trainer.sweeps import sweep\n__import__(sweep.PRELOAD[0])\n",
    }[where]
    program = f"import sys\n{begin}print('trainer.accelerators.lazy_modules' in sys.modules)\n"
    assert run(program).splitlines()[-1] == "True"
