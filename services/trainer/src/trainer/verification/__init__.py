"""Checks that a running MLflow stack does what this replica does."""
