"""Imports everything heavy that a variant needs.

A sweep's process server imports this once and forks from there; a run by itself does so during its fit.

What libraries look up at their first use and then remember is looked up here as well: each variant would otherwise
do it anew, in its fresh process.
"""

import ctypes
import gc
from contextlib import suppress

import lightgbm
import matplotlib.backends.backend_agg
import matplotlib.figure
import mlflow.models
import mlflow.pyfunc
import mlflow.sklearn
import mlflow.types.schema
import numpy
import pandas
import PIL.Image
import PIL.PngImagePlugin
import sklearn.compose
import sklearn.frozen
import sklearn.metrics
import sklearn.model_selection
import sklearn.pipeline
import skops.io

import trainer.plots
import trainer.runs.train
import trainer.training.fit
import trainer.training.model

__all__ = ["PIL", "lightgbm", "matplotlib", "mlflow", "numpy", "pandas", "sklearn", "skops", "trainer"]

_M_ARENA_MAX = -8  # malloc.h

# The image formats that Pillow looks through, the fonts and what else the first drawing loads.
PIL.Image.preinit()
trainer.plots.warm_up()
# One heap for all threads: each would otherwise get one of its own, whose free memory the others cannot use.
with suppress(AttributeError):  # not glibc
    ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)
# The garbage collector need not look through all this again in each process, which would also copy the shared memory.
gc.freeze()
gc.enable()
