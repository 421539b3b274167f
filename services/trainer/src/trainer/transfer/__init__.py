"""Copies a model version, with the run that made it, from one tracking server to another."""
