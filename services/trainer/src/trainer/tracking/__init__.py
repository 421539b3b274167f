"""Talks to MLflow's tracking server."""
