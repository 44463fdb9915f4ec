"""Inner parts of `registry`, the door to MLflow: what it keeps of registered versions and of
settled forecasts."""
