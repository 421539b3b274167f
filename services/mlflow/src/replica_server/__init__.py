"""This stack's tracking server: MLflow's own application, assembled in application.py, and the commands around it.

settings.py: what can be set. limits.py: how much is taken on at once. artifacts/: the storages. requests/: what
happens to a request before MLflow sees it, and to its answer. patches/: what replaces code of MLflow's. commands/:
what containers run.
"""
