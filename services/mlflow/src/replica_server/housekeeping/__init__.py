"""What an operator tidies up: old runs, artifacts without a row and rows without an artifact; and who uses how much."""
