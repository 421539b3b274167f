"""Searches for good parameters: the space, the study that holds the trials, and the trials."""
