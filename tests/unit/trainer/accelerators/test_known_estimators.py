"""skops knows the estimators of the trainer's models, and imports no others."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.process

SAVED = """
import sys
from pathlib import Path
import trainer.accelerators.known_estimators
import trainer.runs.preload
print("sklearn.gaussian_process" in sys.modules)
from trainer.config.variant import complete_params
from trainer.data.sources import load_data
from trainer.training.fit import fit_variant
from trainer.training.model import save_model
dataset = load_data(rows=300)
fitted = fit_variant(complete_params({"n_estimators": 3}), dataset, seed=1, validation_size=0.2)
save_model(fitted.model, dataset, Path("model"), run_id="0" * 32, model_id="m-0", location="model")
import mlflow.pyfunc
print(len(mlflow.pyfunc.load_model("model").predict(dataset.test.features)))
"""


def run(program: str, folder: Path) -> list[str]:
    done = subprocess.run([sys.executable, "-c", program], cwd=folder, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_model_is_saved_without_the_others(tmp_path: Path) -> None:
    assert run(SAVED, tmp_path) == ["False", "60"]


def test_single_run_and_variants_use_it(workdir: Path) -> None:
    program = (
        "import sys\n"
        "from trainer.parallel import forked_call\n"
        "forked_call.available_cpus = lambda: 2\n"
        "from trainer.cli.main import main\n"
        "try:\n    main(['--n-estimators', '3'])\n"
        "finally:\n    print('sklearn.gaussian_process' in sys.modules)\n"
    )
    assert run(program, workdir)[-1] == "False"
    program = "import sys\nfrom trainer.sweeps import sweep\n[__import__(name) for name in sweep.PRELOAD]\n"
    assert run(program + "print('sklearn.gaussian_process' in sys.modules)\n", workdir)[-1] == "False"
