"""The inner rooms of `forecast_log`, which is the only door to them."""
