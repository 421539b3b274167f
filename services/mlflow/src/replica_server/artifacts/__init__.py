"""The storages: their repositories, which MLflow finds by this package's entry points, and what passes through them."""
