"""The tracking server's container: migration, server and health check."""
