"""Which invoices are paid late? A small pipeline that trains a model, tracks the run and registers the model."""

from .pipeline import MODEL, run_pipeline

__all__ = ["MODEL", "run_pipeline"]
