"""LightGBM's parameters: their table, and the variants that are made of them."""
