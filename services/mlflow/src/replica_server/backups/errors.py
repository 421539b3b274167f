"""What a backup or a restoration stops with."""


class BackupError(Exception):
    """It cannot go on; the message is one line that says why, and what was or was not changed."""
