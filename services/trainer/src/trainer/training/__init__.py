"""Fits one variant, scores it, and writes it as a model. Knows nothing of servers."""
