"""Serves a model over HTTP with MLflow's scoring server, and follows the alias that names it."""
