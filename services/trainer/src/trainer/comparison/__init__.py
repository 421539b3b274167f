"""Compares runs: what differs between them, which is best at what, and a report with their plots."""
