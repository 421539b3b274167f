"""The health check of the scheduler's container: it does what its clients do, with the scheduler's own certificate.

Python runs it without the installed packages (``python3 -S``), so that it takes a twentieth of a second.
"""

import os
import sys

from trainer.parallel.cluster.credentials import DEFAULT_PORT, Credentials, reach
from trainer.util.errors import TrainerError

if __name__ == "__main__":
    try:
        reach(f"127.0.0.1:{os.environ.get('TRAINER_PORT') or DEFAULT_PORT}", Credentials.find(), 0)
    except TrainerError as error:
        sys.exit(str(error))
