"""A model is logged, registered, and loaded by each of its names."""

from __future__ import annotations

import tempfile
from typing import Any

from trainer.tracking.settings import as_default
from trainer.verification.checks.check import CheckList
from trainer.verification.stack import Difference, Stack

check = CheckList()


@check("model", "artifacts are proxied")
def _model(stack: Stack) -> str:
    from importlib import metadata

    import mlflow
    import numpy as np
    from sklearn.linear_model import LinearRegression

    features = np.arange(12.0).reshape(6, 2) ** 2
    fitted = LinearRegression().fit(features, np.arange(6.0))
    with as_default(stack.uri), mlflow.start_run(run_id=stack.run_id):
        requirements = [f"{name}=={metadata.version(name)}" for name in ("mlflow", "scikit-learn")]
        info = mlflow.sklearn.log_model(fitted, name="model", pip_requirements=requirements)
    stack.model_id = str(info.model_id)
    for uri in (f"models:/{stack.model_id}", f"runs:/{stack.run_id}/model"):
        if not np.array_equal(_predict(stack, uri, features), fitted.predict(features)):
            raise Difference(f"a model that was loaded as {uri.split('/')[0]}/ predicts otherwise")
    return "logged, loaded by its id and by its run, predicts the same"


@check("registry", "model")
def _registry(stack: Stack) -> str:
    import numpy as np

    client = stack.client
    features = np.arange(12.0).reshape(6, 2) ** 2
    logged = client.get_logged_model(stack.model_id)
    client.create_registered_model(stack.name)
    made = client.create_model_version(
        stack.name, logged.artifact_location, run_id=stack.run_id, model_id=stack.model_id
    )
    # Not one that the server may guard.
    client.set_registered_model_alias(stack.name, "checked", made.version)
    found = client.get_model_version_by_alias(stack.name, "checked")
    if (str(made.version), str(found.version), found.run_id) != ("1", "1", stack.run_id):
        raise Difference(f"the alias leads to version {found.version} of run {found.run_id}")
    by_alias = _predict(stack, f"models:/{stack.name}@checked", features)
    if not np.array_equal(by_alias, _predict(stack, f"models:/{stack.model_id}", features)):
        raise Difference("the model that the alias leads to predicts otherwise")
    return "version and alias; the model loads by its alias"


def _predict(stack: Stack, uri: str, features: Any) -> Any:
    import mlflow.pyfunc

    with as_default(stack.uri), tempfile.TemporaryDirectory(dir=stack.folder) as folder:
        return mlflow.pyfunc.load_model(uri, dst_path=folder).predict(features)
