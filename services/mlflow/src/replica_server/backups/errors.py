"""The error that ends a backup or a restoration."""


class BackupError(Exception):
    """A backup or a restoration cannot go on; the message is one line: why, and what was or was not changed."""
