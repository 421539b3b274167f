"""What replaces code of MLflow's for which MLflow offers no place: one module each, applied in application.py.

Each says what it replaces, the thread upstream if there is one, what it gains, the test, and when it can go. The
measured figures are in docs/contributors/replacements.md.
"""
