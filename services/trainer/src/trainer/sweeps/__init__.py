"""Trains several variants side by side, as nested runs of one parent run."""
