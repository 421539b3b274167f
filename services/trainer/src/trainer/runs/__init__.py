"""One variant as one run: what it is trained with, what comes of it, and whether it was trained before."""
