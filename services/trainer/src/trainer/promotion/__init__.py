"""Decides whether a version of a model may become champion."""
