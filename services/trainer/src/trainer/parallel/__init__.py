"""Runs tasks side by side, one process each, and shows how far they are."""
