"""Backups of database and artifacts as one snapshot: the folder, the manifest, taking one, putting one back."""
