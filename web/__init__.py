"""What `app` is made of: routes by subject, problem documents, what the routes need.

Knows the forecast desk by what it can do; no model, no price file, no MLflow, no pandas.
"""
