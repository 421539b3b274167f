"""Makes fake-gcs-server say no where Google Cloud Storage would: tokens, roles, faults and an audit log."""
