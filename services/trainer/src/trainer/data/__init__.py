"""Reads the training data and makes it uniform, before a run exists."""
