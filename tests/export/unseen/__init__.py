"""Scorers as people in this field build them, written after the exporter and without a look at it."""
