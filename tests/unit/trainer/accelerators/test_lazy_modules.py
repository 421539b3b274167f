"""MLflow's parts for language models are loaded when they are used, and not before."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest

from .. import programs
from .forks import Forks, forks

pytestmark = pytest.mark.process

CLIENT = """
import sys
import trainer.accelerators.lazy_modules
import mlflow
mlflow.MlflowClient("http://127.0.0.1:1", "http://127.0.0.1:1")
"""


@pytest.fixture(scope="module")
def client() -> Iterator[Forks]:
    """Return an interpreter that has made a client and nothing else."""
    with forks(CLIENT) as started:
        yield started


def test_client_and_run_need_no_language_models(client: Forks) -> None:
    loaded = client.run(
        "import trainer.runs.preload\n"
        "print([name for name in sys.modules if name.startswith(('mlflow.genai.', 'mlflow.gateway.', 'fastapi'))])\n"
    )
    assert loaded == ["[]"]


def test_module_is_whole_when_it_is_used(client: Forks) -> None:
    assert client.run("print(callable(mlflow.genai.evaluate), 'fastapi' in sys.modules)\n") == ["True True"]


def test_module_below_it_can_be_imported(client: Forks) -> None:
    program = "from mlflow.genai.scorers import Scorer\nprint(Scorer is mlflow.genai.scorers.Scorer)\n"
    assert client.run(program) == ["True"]


def test_store_in_a_database_loads_them(client: Forks) -> None:
    program = "import mlflow.store.tracking.sqlalchemy_store\nprint(callable(mlflow.genai.make_judge))\n"
    assert client.run(program) == ["True"]


def test_mlflow_has_its_own_loader(client: Forks) -> None:
    """As where MLflow is imported by itself, in the process that programs are forked from."""
    loader = "import mlflow\nprint(type(mlflow.__loader__), type(mlflow.__spec__.loader))\n"
    assert client.run(loader) == programs.run(["-c", loader], check=True).stdout.splitlines()


@pytest.mark.parametrize("where", ["command", "variants"])
def test_commands_and_variants_put_them_off(where: str) -> None:
    """The command line, and the processes of a sweep, begin with it."""
    begin = {
        "command": "from trainer.cli.main import main\ntry:\n    main(['--version'])\nexcept SystemExit:\n    pass\n",
        "variants": "from trainer.sweeps import sweep\n__import__(sweep.PRELOAD[0])\n",
    }[where]
    program = f"import sys\n{begin}print('trainer.accelerators.lazy_modules' in sys.modules)\n"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "True"
