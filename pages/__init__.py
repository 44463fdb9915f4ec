"""What a page shows beside forecasts: prices, scores, runs, correlations, what is in use.

`Pages` is the whole of it; reads what other parts wrote and changes nothing.
"""

from pages.desk import Pages

__all__ = ["Pages"]
