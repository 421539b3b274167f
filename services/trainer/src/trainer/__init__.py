"""Trains LightGBM purchase classifiers and tracks each variant as an MLflow run.

The package's top level imports nothing heavy: the command line answers ``--help`` before pandas, LightGBM or MLflow
load.
"""
