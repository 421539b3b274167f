"""Reads a table in chunks of bounded size: CSV, compressed or not, and Parquet; in one file or in parts."""
