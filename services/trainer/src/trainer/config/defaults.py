"""The names that are used where none is given."""

EXPERIMENT = "purchase_predict"
MODEL = "purchase_predict"
