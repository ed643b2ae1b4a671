"""Scorers as people in this field build them, written after the exporter by somebody who didn't look at its code."""
