"""Writes the stores that test_import.py brings in, as MLflow 2 has written them: a folder of files, and a SQLite file.

Made once, in an environment of its own, since no test downloads anything:

    python3 -m venv /tmp/mlflow2 && /tmp/mlflow2/bin/pip install mlflow==2.22.5 'sqlalchemy<2.1'
    /tmp/mlflow2/bin/python make_stores_of_mlflow_2.py stores_of_mlflow_2.tar.xz
"""

import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

# As on the machine of someone else, in a folder that is not where the test has it.
PLACE = Path(tempfile.gettempdir()) / "stores"

WRITE = """
import os, sys
import mlflow, numpy as np
from mlflow import MlflowClient
from sklearn.linear_model import LogisticRegression
uri, kind = sys.argv[1:]
mlflow.set_tracking_uri(uri)
mlflow.set_experiment(f"moved {kind}")
client, model = MlflowClient(uri, uri), f"moved_{kind}"
experiment = client.get_experiment_by_name(f"moved {kind}").experiment_id
client.set_experiment_tag(experiment, "team", "web")
fitted = LogisticRegression().fit(np.array([[0.0], [1.0]]), [0, 1])
with mlflow.start_run(run_name="parent") as parent:
    mlflow.log_text("notes", "notes/a b.txt")
    with mlflow.start_run(run_name="child", nested=True) as run:
        mlflow.log_params({"a": 1, "b": "x" * 300})
        for step in range(30):
            mlflow.log_metric("loss", 1 / (step + 1), step=step)
        mlflow.log_metric("odd", float("nan"))
        mlflow.set_tag("mine", "1")
        mlflow.sklearn.log_model(fitted, "model", registered_model_name=model, pip_requirements=["mlflow"])
with mlflow.start_run(run_name="failed"):
    mlflow.end_run("FAILED")
mlflow.register_model(f"runs:/{run.info.run_id}/model", model)
client.set_registered_model_alias(model, "champion", "1")
client.set_model_version_tag(model, "2", "checked", "yes")
client.transition_model_version_stage(model, "2", "Staging")
client.update_registered_model(model, description="Old and good")
client.create_run(experiment, run_name="died")
"""


def anonymous(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    """Returns an entry that says nothing of this machine."""
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    return entry


def main() -> None:
    """Writes the archive."""
    target = Path(sys.argv[1]).resolve()
    environment = {
        **os.environ,
        "LOGNAME": "someone",
        "USER": "someone",
        "MLFLOW_RUN_CONTEXT": '{"mlflow.source.name": "train.py"}',
    }
    for kind in ("mlruns2", "sqlite2"):
        folder = PLACE / kind
        folder.mkdir(parents=True)
        uri = (folder / "mlruns").as_uri() if kind == "mlruns2" else f"sqlite:///{folder}/mlflow.db"
        subprocess.run([sys.executable, "-c", WRITE, uri, kind], cwd=folder, env=environment, check=True)
    with tarfile.open(target, "w:xz") as archive:
        archive.add(PLACE, "stores", filter=anonymous)


if __name__ == "__main__":
    main()
