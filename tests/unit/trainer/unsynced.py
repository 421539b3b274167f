"""Lets SQLite leave it to the system when a database reaches the disk. Imported for its effect.

SQLite otherwise waits for the disk several times at each commit, and MLflow commits some forty times a run. What a
killed process has committed is there all the same. A power cut would lose it, which no unit test is about.
"""

from __future__ import annotations

import sqlite3

from sqlalchemy import Engine, event


@event.listens_for(Engine, "connect")
def _do_not_wait(connection: object, _record: object) -> None:
    if isinstance(connection, sqlite3.Connection):
        connection.execute("PRAGMA synchronous = OFF")
