"""What the server tells about itself, for Prometheus: counted requests, figures of the moment, and their port."""
