"""The dashboard's tabs, a file each: every one asks the service and draws what it answers.

`streamlit_app` is the door. Nothing here computes a figure; a failure stays in its own panel.
"""
