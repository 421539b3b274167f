"""Imports what a fit needs. A sweep's process server imports this first: a fit can begin before it has the rest."""

import trainer.runs.train
from trainer.accelerators import background_import
from trainer.training import fit

__all__ = ["trainer"]

background_import.load(*fit.NEEDS)
