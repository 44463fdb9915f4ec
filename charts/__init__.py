"""Answers of the service as Plotly figures: an answer in, a figure out, a file per tab.

Knows no page and no service. Every chart names its unit, and its colours differ in lightness too.
"""
