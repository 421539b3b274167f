"""What happens to a request before MLflow sees it, and to its answer afterwards."""
