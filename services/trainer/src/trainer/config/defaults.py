"""The names and numbers that are used where none are given."""

EXPERIMENT = "purchase_predict"
MODEL = "purchase_predict"
#: The share of a single table's rows that is held out for the test.
TEST_SIZE = 0.2
#: The share of the training rows that chooses the threshold.
VALIDATION_SIZE = 0.2
