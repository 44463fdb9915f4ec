"""What a page shows beside forecasts: prices, scores, runs, correlations, what is in use.

`Pages` is the whole of it; reads what other parts wrote and changes nothing.
The folder is not called `pages`: beside `streamlit_app.py` Streamlit would offer each file of such
a folder as a page of the dashboard.
"""

from exhibits.desk import Pages

__all__ = ["Pages"]
