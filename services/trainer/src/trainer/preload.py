"""Imports everything heavy that a variant needs. A sweep's process server imports this once and forks from there."""

import lightgbm
import matplotlib.backends.backend_agg
import matplotlib.figure
import mlflow.models
import mlflow.sklearn
import mlflow.types.schema
import numpy
import pandas
import sklearn.compose
import sklearn.frozen
import sklearn.metrics
import sklearn.model_selection
import sklearn.pipeline
import skops.io

import trainer.fit
import trainer.run

__all__ = ["lightgbm", "matplotlib", "mlflow", "numpy", "pandas", "sklearn", "skops", "trainer"]
