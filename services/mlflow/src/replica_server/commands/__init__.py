"""What the containers run: serve, preflight, migrate, gc and healthcheck."""
