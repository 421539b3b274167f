"""Imports what a variant needs where runs go to a database without a server; see ``preload``."""

import mlflow.store.tracking.sqlalchemy_store
import sqlalchemy.orm

__all__ = ["mlflow", "sqlalchemy"]

# The store does this at its first use, once a process.
sqlalchemy.orm.configure_mappers()
