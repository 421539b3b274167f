"""Scores files of any size with a logged model, in chunks: what a chunk holds never changes how its values are read."""
