"""What a stack is checked for: each check says what it saw, and raises ``Difference`` where the replica does otherwise.

The checks work in an experiment and a registered model of their own. ``verify`` makes the checks, and removes those.
"""

from trainer.verification.checks import artifacts, browsers, models, runs, server

#: In the order in which they are made.
CHECKS = (*server.check, *runs.check, *artifacts.check, *models.check, *browsers.check)
