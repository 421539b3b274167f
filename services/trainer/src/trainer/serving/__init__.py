"""Serves a model over HTTP by MLflow's scoring protocol, and follows the alias that names it."""
