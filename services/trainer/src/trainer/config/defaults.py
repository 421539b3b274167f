"""The names and numbers that are used where none are given."""

EXPERIMENT = "purchase_predict"
MODEL = "purchase_predict"
#: Shares: of a single table's rows, those of the test; of the training rows, those of the validation.
TEST_SIZE = VALIDATION_SIZE = 0.2
