"""The inner rooms of `data_pipeline`, which is the only door to them."""
