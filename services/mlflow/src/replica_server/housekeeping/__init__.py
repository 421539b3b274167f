"""What an operator tidies up: runs that nobody needs, artifacts and rows without their other half, and what is used."""
