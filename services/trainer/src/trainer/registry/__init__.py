"""MLflow's model registry: versions, and the alias of the champion."""
