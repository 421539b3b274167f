"""What the server tells about itself, for Prometheus: counted requests, gauges, and their port."""
