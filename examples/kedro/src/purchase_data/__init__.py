"""Splits raw web-shop sessions into the four files that the trainer takes, and tracks how in MLflow."""
