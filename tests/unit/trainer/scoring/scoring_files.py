"""What the tests of scoring and of comparing have in common: a model made once, and tables to score with it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from trainer.config.values import ColumnType
from trainer.config.variant import make_variant
from trainer.data.columns import convert_column
from trainer.data.dataset import Dataset
from trainer.scoring.loaded_model import load_model
from trainer.scoring.predict import PredictRequest, predict_file
from trainer.scoring.scorers import Scorer
from trainer.training.fit import FitResult, fit_variant
from trainer.training.model import save_model


@dataclass(frozen=True)
class Saved:
    """A fitted model, and the folder that it was saved to in MLflow's format."""

    fitted: FitResult
    dataset: Dataset
    folder: Path

    @property
    def column_types(self) -> dict[str, ColumnType]:
        """The kinds of the columns."""
        return self.dataset.column_types

    def expected(self, features: pd.DataFrame) -> tuple[list[float], list[int]]:
        """Return the probabilities and classes that scikit-learn's own model gives."""
        columns = {name: convert_column(features[name], kind) for name, kind in self.column_types.items()}
        table = pd.DataFrame(columns)
        return self.fitted.model.predict_proba(table)[:, 1].tolist(), self.fitted.model.predict(table).tolist()


def save(dataset: Dataset, folder: Path, **overrides: Any) -> Saved:
    """Fit a small model and save it as the trainer does."""
    variant = make_variant({"n_estimators": 12, "num_leaves": 9, **overrides})
    fitted = fit_variant(variant.params, dataset, seed=1, validation_size=0.25)
    save_model(fitted.model, dataset, folder, run_id="0" * 32, model_id="m-" + "0" * 32, location=str(folder))
    return Saved(fitted, dataset, folder)


def score(saved: Saved | Path, path: Path, out: Path, **options: Any) -> pd.DataFrame:
    """Score a file, and return what was written."""
    folder = saved.folder if isinstance(saved, Saved) else saved
    predict_file(PredictRequest(str(folder), path, out, **options))
    return read(out)


def read(path: Path) -> pd.DataFrame:
    """Return a written table."""
    if path.name.endswith((".parquet", ".pq")):
        return pd.read_parquet(path)
    return pd.read_csv(path, keep_default_na=False)


def scorer_of(saved: Saved) -> type[Scorer]:
    """Return which scorer the saved model gets."""
    loaded = load_model(saved.folder, "model")
    assert loaded.features is not None
    from trainer.data.arrow_columns import convert

    rows = saved.dataset.test.features.head(50)
    import pyarrow as pa

    columns = {
        feature.name: convert(pa.array(rows[feature.name], from_pandas=True), feature, 0, "", from_text=False)
        for feature in loaded.features
    }
    return type(loaded.scorer(loaded.features, columns, len(rows), 1))
