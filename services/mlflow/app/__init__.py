"""The tracking server's container: migration, storage check, server and health check."""
